"""`python -m clickstream demo`: the whole pipeline once, by the scripts that people use.

On servers of its own, which are gone afterwards; neither `.env` nor the user's settings count.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import FrameType

from clickstream import cli
from clickstream.errors import UserError
from clickstream.local.temporary import PROJECT, temporary_stack
from clickstream.settings import Settings

STEPS = (
    ("Create tables and topic", ("create_schema.py",)),
    (
        "Send what simulated visitors do",
        ("producer.py", "--events", "20000", "--backfill", "2d", "--seed", "7"),
    ),
    ("Store each event once, its session, and index both", ("consumer.py", "--drain")),
    ("See what happened", ("summary.py",)),
    ("Work out every session again, in SQL: any difference?", ("summary.py", "--verify")),
)
SEARCH_STEP = (
    "Compare the index with PostgreSQL: any difference?",
    ("-m", "clickstream", "search", "verify"),
)
STOP_SECONDS = 5.0
NEXT_STEPS = """
To play with it, on servers that stay:
  python -m clickstream stack up
  python consumer.py                # in a second terminal
  python producer.py                # in a third one
  python summary.py"""


def run(_: argparse.Namespace) -> int:
    """Run every step; fail with the first one that fails."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    began = time.monotonic()
    print("Starting a broker, PostgreSQL and a search server for this demo", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="clickstream-demo-"))
    with temporary_stack(folder) as servers:
        searches = bool(servers["OPENSEARCH_HOST"])
        if not searches:
            print("There is no search server for this platform; the demo goes without")
        steps = (*STEPS, SEARCH_STEP) if searches else STEPS
        environment = _environment(servers)
        for number, (title, line) in enumerate(steps, start=1):
            print(f"\n== {number}/{len(steps)} {title}: python {' '.join(line)}", flush=True)
            _run(line, environment, folder)
    seconds = time.monotonic() - began
    print(f"\nThe demo passed in {seconds:.0f} s; its servers are stopped and removed.")
    print(NEXT_STEPS)
    return cli.DONE


def _environment(servers: Mapping[str, str]) -> dict[str, str]:
    """The environment without any setting of the user's, and with these servers."""
    names = {item.name.upper() for item in fields(Settings)}
    others = {name: value for name, value in os.environ.items() if name not in names}
    return {**others, **servers, "PYTHONPATH": str(PROJECT)}


def _run(line: tuple[str, ...], environment: Mapping[str, str], folder: Path) -> None:
    name, *arguments = line
    program = str(PROJECT / name) if name.endswith(".py") else name
    child = subprocess.Popen(
        [sys.executable, program, *arguments],
        env=environment,
        cwd=folder,  # there is no .env
        start_new_session=True,  # Ctrl-C ends the demo, and the demo ends the script
    )
    try:
        status = child.wait()
    finally:
        _end(child)
    if status != cli.DONE:
        raise UserError(f"the demo stopped: {' '.join(line)} failed with exit status {status}")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Make sure that it is gone, in its own way or not."""
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
