"""`python -m clickstream demo`: run the scripts of the whole pipeline once on temporary servers.

The servers are deleted afterwards, except with --keep. Neither `.env` nor the user's settings are
used.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from clickstream import cli
from clickstream.env_file import check_writable, write_env_file
from clickstream.errors import UserError
from clickstream.local import console, stack
from clickstream.local.temporary import PROJECT, temporary_stack
from clickstream.pasteable import pasteable
from clickstream.settings import DEFAULT_ENV_FILE, setting_fields
from clickstream.sources import ENV_FILE

STEPS = (
    ("Create tables and topic", ("create_schema.py",)),
    (
        "Send simulated visitor traffic",
        ("producer.py", "--events", "20000", "--backfill", "2d", "--seed", "7"),
    ),
    ("Store and index events and sessions", ("consumer.py", "--drain")),
    ("Print the report", ("summary.py",)),
)
CHECKS = (("Recompute all sessions in SQL and compare", ("summary.py", "--verify")),)
SEARCH_CHECK = (
    "Compare the index with PostgreSQL",
    ("-m", "clickstream", "search", "verify"),
)
STOP_SECONDS = 5.0
PAGE = Path("report-demo.html")
NEXT_STEPS = """
To continue with servers that keep running, consumer and producer each in its own terminal:
  python -m clickstream stack up
  python consumer.py
  python producer.py
  python summary.py"""
KEPT = "The servers keep running. Stop them: python -m clickstream stack down"


def run(arguments: argparse.Namespace) -> int:
    """Run all steps. Raises UserError if one of them fails."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    began = time.monotonic()
    page = PAGE.resolve()
    with _kept_servers() if arguments.keep else _temporary_servers() as (folder, servers):
        (folder / ENV_FILE).touch()  # an empty one, so that the scripts read no other
        _run_steps(_steps(page, has_search=bool(servers["OPENSEARCH_HOST"])), servers, folder)
    seconds = time.monotonic() - began
    if arguments.keep:
        print(f"\nThe demo passed in {seconds:.0f} s. The report as a page: {page.as_uri()}")
        print(pasteable(console.NEXT_STEPS))
        console.print_client_lines(console.FOLDER.resolve())
        print(pasteable(f"\n{KEPT}"))
    else:
        print(f"\nThe demo passed in {seconds:.0f} s; its servers are stopped and deleted.")
        print(f"The report as a page: {page.as_uri()}")
        print(pasteable(NEXT_STEPS))
    return cli.DONE


@contextmanager
def _temporary_servers() -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield a folder for the scripts and the settings of servers that are deleted at the end."""
    print("Starting a temporary broker, PostgreSQL and search server", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="clickstream-demo-"))
    with temporary_stack(folder) as servers:
        yield folder, servers


@contextmanager
def _kept_servers() -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield a folder for the scripts and the settings of local servers that keep running.

    Raises UserError if the local servers have data, or if `.env` is not theirs.
    """
    check_writable(DEFAULT_ENV_FILE, console.WRITTEN_BY, force=False)
    stack_folder = console.FOLDER.resolve()
    if stack.contents(stack_folder):
        raise UserError(
            f"the local servers in {stack_folder} have data already; delete it first with: "
            "python -m clickstream stack reset"
        )
    print("Starting a broker, PostgreSQL and search server that keep running", flush=True)
    try:
        stack.up(stack_folder)
        servers = stack.environment(stack_folder)
        write_env_file(DEFAULT_ENV_FILE, servers, console.WRITTEN_BY)
        with tempfile.TemporaryDirectory(prefix="clickstream-demo-") as folder:
            yield Path(folder), servers
    except BaseException:
        print(pasteable(KEPT), file=sys.stderr)
        raise


def _steps(page: Path, *, has_search: bool) -> list[tuple[str, tuple[str, ...]]]:
    """Return the steps, each with its title and its command line."""
    if not has_search:
        print("There is no search server for this platform; the demo runs without one")
    return [
        *STEPS,
        ("Write the report as a page", ("summary.py", "--html", str(page))),
        *CHECKS,
        *([SEARCH_CHECK] if has_search else []),
    ]


def _run_steps(
    steps: Sequence[tuple[str, tuple[str, ...]]], servers: Mapping[str, str], folder: Path
) -> None:
    environment = _environment(servers)
    for number, (title, line) in enumerate(steps, start=1):
        print(f"\n== {number}/{len(steps)} {title}: python {shlex.join(line)}", flush=True)
        _run(line, environment, folder)


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
