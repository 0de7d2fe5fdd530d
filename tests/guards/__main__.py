"""Remove one safeguard after another in a copy of the project; a named test must fail each time.

    python -m tests.guards [WORD ...]

WORD: try only the guards with one of these words in their name. The reason of each failure is
printed: it must be what the safeguard prevents. Exit status 1 if a test passes without its
safeguard.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.guards.guards import ROOT, Guard, read_guards

# A test that waits for something that no longer happens fails after this many seconds. The test of
# Flink takes half as long with its safeguard, too.
TEST_SECONDS = 240
# Start of a line in the summary of pytest. Errors of an import or a fixture have another one.
FAILED = "FAILED "
# Characters of such a line: pytest leaves out the reason if it does not fit.
LINE_LENGTH = 240


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
    failures = [line for line in run.stdout.splitlines() if line.startswith(FAILED)]
    if failures:
        print(f"red    {guard.name}: {failures[0]}", flush=True)
    else:
        print(f"GREEN  {guard.name}: {guard.test}\n{run.stdout[-2000:]}", flush=True)
    return bool(failures)


def _run_test(guard: Guard, project: Path) -> subprocess.CompletedProcess[str]:
    options = ["-x", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}"]
    options += ["-m", "slow or not slow"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, guard.test],
        cwd=project,
        env={**os.environ, "COLUMNS": str(LINE_LENGTH)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
