"""The producer's progress display: a bar on a terminal, otherwise one log line per interval."""

import os
import re
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from tests.services.scripts import StartScript, command, plain_environment

LINE = r"INFO sent \d+ \(\d+/s\), acknowledged \d+, failed 0"
INTERVAL_SECONDS = 5
TIME_LEFT = r" \d:\d\d:\d\d"


def on_a_terminal(
    environment: dict[str, str], folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run the producer on a terminal of 120 columns; stdout is all that it displayed."""
    terminal, inside = os.openpty()
    settings = plain_environment({**environment, "TERM": "xterm", "COLUMNS": "120"})
    line = command("producer.py", *arguments)
    shown = bytearray()
    with subprocess.Popen(line, env=settings, cwd=folder, stdout=inside, stderr=inside) as run:
        os.close(inside)
        while part := read(terminal):
            shown += part
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    return subprocess.CompletedProcess(line, run.returncode, text)


def read(terminal: int) -> bytes:
    """Return the next output; empty when no process has the terminal open any more."""
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the end of the output, on Linux
        return b""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--rate", "500", "--events", "1000"), id="a number of events"),
        pytest.param(("--backfill", "12h", "--target-active-users", "10"), id="a past"),
    ],
)
def test_a_terminal_shows_counts_rate_and_time_left(
    environment: dict[str, str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    shown = on_a_terminal(environment, tmp_path, *arguments)
    assert shown.returncode == 0, shown.stdout
    bars = re.findall(rf"([\d,]+) sent +([\d,]+)/s +([\d,]+) acknowledged +0 failed{TIME_LEFT}",
                      shown.stdout)  # fmt: skip
    assert len({sent for sent, _, _ in bars}) > 3
    sent, _, acknowledged = bars[-1]
    assert sent == acknowledged
    total = sent.replace(",", "")
    assert f"INFO sent {total}, acknowledged {total}, failed 0" in shown.stdout
    assert not re.search(LINE, shown.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_dry_run_on_a_terminal_shows_no_bar_between_the_events(
    environment: dict[str, str], tmp_path: Path
) -> None:
    shown = on_a_terminal(environment, tmp_path, "--events", "9", "--backfill", "1d", "--dry-run")
    lines = shown.stdout.splitlines()
    assert all(line.startswith("{") for line in lines[:9])
    assert len(lines) == 10
    assert lines[9].endswith("INFO printed 9")


def test_without_a_terminal_there_is_one_line_per_interval(start_script: StartScript) -> None:
    began = monotonic()
    script = start_script("producer.py", "--rate", "100", "--events", "700")
    assert script.wait() == 0
    intervals = (monotonic() - began) // INTERVAL_SECONDS
    assert 1 <= len(re.findall(LINE, script.output)) <= intervals
    assert "━" not in script.output
