"""Temporary servers, shared by several processes and deleted after the last one.

Each process that uses them starts a watchdog process. The watchdog waits until its parent has
ended, also by SIGKILL, and until no other process holds the shared lock. Then it stops the servers
and deletes their folder.
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
def temporary_stack(
    folder: Path, names: Collection[str] = stack.SERVER_NAMES
) -> Iterator[dict[str, str]]:
    """Start the servers of a folder, which processes may share, and yield their settings.

    Leaving the context waits until all processes have left it and the folder is deleted.
    """
    folder = folder.resolve()
    watchdog = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C must not reach the watchdog
    )
    try:
        with locked(_lock_file(folder), shared=True):
            stack.up(folder, names)
            yield stack.environment(folder)
    finally:
        watchdog.communicate()


def watch(folder: Path) -> int:
    """Wait until the parent and all other users have ended, then delete the servers."""
    sys.stdin.read()
    lock = _lock_file(folder)
    with locked(lock):
        stack.remove(folder)
        lock.unlink()
    return cli.DONE


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


if __name__ == "__main__":
    raise SystemExit(cli.run(lambda: watch(Path(sys.argv[1]))))
