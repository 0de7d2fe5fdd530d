"""Remove one safeguard after another in a copy of the project; a named test must fail each time.

    python -m tests.guards [WORD ...]

WORD: try only the guards with one of these words in their name. Exit status 1 if a test passes
without its safeguard.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.guards.guards import ROOT, Guard, read_guards

# A test that waits for something that no longer happens fails after this many seconds.
TEST_SECONDS = 120
# Exit status of pytest if a test failed; an import that fails, for example, has another one.
TESTS_FAILED = 1


def main(words: Sequence[str]) -> int:
    """Try the guards, and return the exit status."""
    guards = [
        guard for guard in read_guards() if not words or any(word in guard.name for word in words)
    ]
    with tempfile.TemporaryDirectory(prefix="clickstream-guards-") as folder:
        project = _copy(Path(folder) / "project")
        survivors = [guard.name for guard in guards if not _is_noticed(guard, project)]
    print(f"{len(guards) - len(survivors)} of {len(guards)} guards are needed by their test")
    return 1 if survivors else 0


def _copy(project: Path) -> Path:
    """Copy the files under version control."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True)
    for name in listed.stdout.decode().splitlines():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, project / name)
    return project


def _is_noticed(guard: Guard, project: Path) -> bool:
    """Run the test without the safeguard, and return True if it fails."""
    file = project / guard.file
    original = file.read_text()
    file.write_text(original.replace(guard.text, guard.without))
    try:
        run = _run_test(guard, project)
    finally:
        file.write_text(original)
    noticed = run.returncode == TESTS_FAILED
    print(f"{'red  ' if noticed else 'GREEN'}  {guard.name}: {guard.test}", flush=True)
    if not noticed:
        print(run.stdout[-2000:])
    return noticed


def _run_test(guard: Guard, project: Path) -> subprocess.CompletedProcess[str]:
    options = ["-x", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}"]
    options += ["-m", "slow or not slow"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, guard.test],
        cwd=project,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
