"""Server processes: starting them in the background, recognising them, stopping them.

A process id is not enough to recognise a process, because the system reuses it. A process is
signalled only if its id, its start time and its command line are the stored ones.
"""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import Signals
from typing import Any, BinaryIO

import psutil

from clickstream.errors import UserError

KILL_SECONDS = 10.0
_POLL_SECONDS = 0.02
_SAME_START_SECONDS = 1.5  # Linux gives the boot time in whole seconds and rounds it either way
_KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system's user and group that a server runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Process:
    """A process, identified also by its start time and command line.

    started: seconds since the boot of the machine, which changes of the clock do not affect.
    """

    pid: int
    started: float
    command: tuple[str, ...]


def run_options(folder: Path, account: Account | None) -> dict[str, Any]:
    """Return keyword arguments for subprocess: working directory, account and environment.

    The servers read environment variables (LISTENER_URL, PGPORT, ...), so they get none of the
    user's. Without LC_ALL PostgreSQL on macOS becomes multithreaded and refuses to start.
    """
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    options: dict[str, Any] = {"cwd": folder, "env": {**kept, "LC_ALL": "C"}}
    if account:
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return options


def open_log(path: Path) -> BinaryIO:
    """Open a log file for appending, with mode 0600."""
    return open(path, "ab", opener=partial(os.open, mode=0o600))


def start(
    command: Sequence[str], *, log: Path, folder: Path, account: Account | None = None
) -> Process:
    """Start a server in the background, in its own session; its output is appended to `log`.

    Raises UserError if the program cannot be run.
    """
    with open_log(log) as output:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **run_options(folder, account),
            )
        except OSError as error:
            raise UserError(f"cannot start {command[0]}: {error.strerror}") from error
    child.returncode = (
        0  # the process outlives this object on purpose; this suppresses Popen's warning
    )
    found = psutil.Process(child.pid)
    _wait_for_command_line(found)
    return Process(child.pid, _seconds_since_boot(found), tuple(command))


def is_running(process: Process) -> bool:
    """Return True if exactly this process still runs."""
    return _find(process) is not None


def recognise(pid: int, arguments: Sequence[str]) -> Process | None:
    """Return the process of this id if its command line contains these adjacent arguments."""
    try:
        found = psutil.Process(pid)
        command = tuple(found.cmdline())
        process = Process(pid, _seconds_since_boot(found), command)
    except psutil.Error:
        return None
    width = len(arguments)
    slices = (command[at : at + width] for at in range(len(command)))
    return process if tuple(arguments) in slices else None


def stop(process: Process, signals: Sequence[tuple[Signals, float]] = ()) -> None:
    """Send the signals in order until the process ends, waiting the given seconds after each.

    After the last one it is killed with all its children. Raises UserError if even that fails.
    """
    for number, seconds in signals:
        found = _find(process)
        if found is None:
            return
        found.send_signal(number)
        if _is_gone(process, seconds):
            return
    _kill(process)


def _kill(process: Process) -> None:
    found = _find(process)
    if found is None:
        return
    children = found.children(recursive=True)
    found.kill()
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(children, KILL_SECONDS)
    if not _is_gone(process, KILL_SECONDS):
        raise UserError(f"process {process.pid} ({process.command[0]}) cannot be killed")


def _is_gone(process: Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _wait_for_command_line(found: psutil.Process) -> None:
    """Wait until the command line can be read: on Linux it is empty until the program is loaded."""
    try:
        while not found.cmdline():
            time.sleep(0.001)
    except psutil.NoSuchProcess:  # already ended, which the wait for the server reports
        return


def _find(process: Process) -> psutil.Process | None:
    try:
        found = psutil.Process(process.pid)
        if abs(_seconds_since_boot(found) - process.started) > _SAME_START_SECONDS:
            return None
        if found.status() != psutil.STATUS_ZOMBIE:
            return found if tuple(found.cmdline()) == process.command else None
        # A dead process keeps its port and its files until its last thread has ended.
        if found.num_threads() > 1:
            return found
    except psutil.Error:
        return None
    _reap(process.pid)
    return None


def _reap(pid: int) -> None:
    """Remove a child that has ended from the process table."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _seconds_since_boot(found: psutil.Process) -> float:
    return float(found.create_time() - psutil.boot_time())
