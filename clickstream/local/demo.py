"""`python -m clickstream demo`: run the scripts of the whole pipeline once on temporary servers.

The servers are deleted afterwards. Neither `.env` nor the user's settings are used.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from clickstream import cli
from clickstream.errors import UserError
from clickstream.local.temporary import PROJECT, temporary_stack
from clickstream.settings import setting_fields
from clickstream.sources import ENV_FILE

STEPS = (
    ("Create tables and topic", ("create_schema.py",)),
    (
        "Send simulated visitor traffic",
        ("producer.py", "--events", "20000", "--backfill", "2d", "--seed", "7"),
    ),
    ("Store and index events and sessions", ("consumer.py", "--drain")),
    ("Print the report", ("summary.py",)),
    ("Recompute all sessions in SQL and compare", ("summary.py", "--verify")),
)
SEARCH_STEP = (
    "Compare the index with PostgreSQL",
    ("-m", "clickstream", "search", "verify"),
)
STOP_SECONDS = 5.0
NEXT_STEPS = """
To continue with servers that keep running:
  python -m clickstream stack up
  python consumer.py                # in a second terminal
  python producer.py                # in a third one
  python summary.py"""


def run(_: argparse.Namespace) -> int:
    """Run all steps. Raises UserError if one of them fails."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    began = time.monotonic()
    print("Starting a temporary broker, PostgreSQL and search server", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="clickstream-demo-"))
    with temporary_stack(folder) as servers:
        (folder / ENV_FILE).touch()  # an empty one, so that the scripts read no other
        has_search = bool(servers["OPENSEARCH_HOST"])
        if not has_search:
            print("There is no search server for this platform; the demo runs without one")
        steps = (*STEPS, SEARCH_STEP) if has_search else STEPS
        environment = _environment(servers)
        for number, (title, line) in enumerate(steps, start=1):
            print(f"\n== {number}/{len(steps)} {title}: python {' '.join(line)}", flush=True)
            _run(line, environment, folder)
    seconds = time.monotonic() - began
    print(f"\nThe demo passed in {seconds:.0f} s; its servers are stopped and deleted.")
    print(NEXT_STEPS)
    return cli.DONE


def _environment(servers: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with these servers and without the user's settings."""
    names = {item.name.upper() for item in setting_fields()}
    others = {name: value for name, value in os.environ.items() if name not in names}
    return {**others, **servers, "PYTHONPATH": str(PROJECT)}


def _run(line: tuple[str, ...], environment: Mapping[str, str], folder: Path) -> None:
    name, *arguments = line
    program = str(PROJECT / name) if name.endswith(".py") else name
    child = subprocess.Popen(
        [sys.executable, program, *arguments],
        env=environment,
        cwd=folder,
        start_new_session=True,  # Ctrl-C interrupts the demo, and the demo stops the script
    )
    try:
        status = child.wait()
    finally:
        _end(child)
    if status != cli.DONE:
        raise UserError(f"the demo stopped: {' '.join(line)} failed with exit status {status}")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Stop a script if it still runs: by SIGTERM, and after STOP_SECONDS by SIGKILL."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
