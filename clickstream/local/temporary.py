"""Servers that live as long as somebody uses them, and leave nothing behind.

Each user starts a guardian: a process that notices the user's end, however it came, and that of
all other users by a lock which they share; then it stops the servers and deletes their folder.
"""

import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from clickstream import cli
from clickstream.local import stack
from clickstream.local.locks import locked

PROJECT = Path(__file__).parents[2]


@contextmanager
def temporary_stack(folder: Path, names: Collection[str] = stack.NAMES) -> Iterator[dict[str, str]]:
    """Servers in a folder that several processes may share; yields the settings that lead to them.

    Leaving waits until the last user has left too, and servers and folder are gone.
    """
    folder = folder.resolve()
    guardian = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the user, not for the guardian
    )
    try:
        with locked(_lock_file(folder), shared=True):
            stack.up(folder, names)
            yield stack.environment(folder)
    finally:
        guardian.communicate()


def guard(folder: Path) -> int:
    """Wait for the end of the own user and of all others, then remove the servers."""
    sys.stdin.read()
    lock = _lock_file(folder)
    with locked(lock):
        stack.remove(folder)
        lock.unlink()
    return cli.DONE


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


if __name__ == "__main__":
    raise SystemExit(cli.run(lambda: guard(Path(sys.argv[1]))))
