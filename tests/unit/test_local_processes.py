"""Processes, locks and ports of the local servers, tested without a server."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import psutil
import pytest

from clickstream.errors import UserError
from clickstream.local import ports, processes
from clickstream.local.locks import locked
from clickstream.local.processes import Process
from clickstream.local.server import MAX_LOG_BYTES, Server, begin

IGNORES_SIGTERM = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)"
)
WAIT = "import time; time.sleep(300)"


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    process = processes.start(["sleep", "300"], log=tmp_path / "log", folder=tmp_path)
    yield process
    processes.stop(process)


def test_a_process_is_stopped_by_its_stop_signal(sleeper: Process) -> None:
    assert processes.is_running(sleeper)
    processes.stop(sleeper, [(SIGTERM, 10)])
    assert not processes.is_running(sleeper)


def test_a_process_that_ignores_the_signal_is_killed_with_its_children(tmp_path: Path) -> None:
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAIT!r}])"
    log = tmp_path / "log"
    process = processes.start(
        [sys.executable, "-c", f"{child}; {IGNORES_SIGTERM}; {WAIT}"], log=log, folder=tmp_path
    )
    deadline = time.monotonic() + 60
    while "ready" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    assert len(family) == 2
    processes.stop(process, [(SIGTERM, 0.1)])
    _, alive = psutil.wait_procs(family, 10)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize(
    "change",
    [{"started": 0.0}, {"command": ("sleep", "301")}, {"command": ()}],
    ids=["another start", "another command", "no command"],
)
def test_a_process_with_another_start_or_command_line_is_not_signalled(
    sleeper: Process, change: dict[str, Any]
) -> None:
    other = replace(sleeper, **change)
    assert not processes.is_running(other)
    processes.stop(other, [(SIGKILL, 0.1)])
    assert processes.is_running(sleeper)


def test_a_process_is_recognised_by_adjacent_arguments(sleeper: Process) -> None:
    found = processes.recognise(sleeper.pid, ["sleep", "300"])
    assert found is not None
    assert processes.is_running(found)
    assert processes.recognise(sleeper.pid, ["300", "sleep"]) is None


def test_servers_do_not_get_the_users_environment_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTENER_URL", "tcp://0.0.0.0:9092")
    monkeypatch.setenv("PGPORT", "1")
    assert set(processes.run_options(tmp_path, None)["env"]) <= {"PATH", "HOME", "TMPDIR", "LC_ALL"}


def test_a_program_that_cannot_run_is_an_error_for_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot start /nowhere: No such file"):
        processes.start(["/nowhere"], log=tmp_path / "log", folder=tmp_path)


def test_a_free_preferred_port_is_kept_and_an_occupied_one_replaced() -> None:
    port = ports.free_port()
    assert ports.free_port(port) == port
    with socket.create_server((ports.HOST, port)):
        assert ports.free_port(port) != port


def test_shared_locks_exclude_an_exclusive_lock_but_not_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    order = []

    def take() -> None:
        with locked(path):
            order.append("exclusive")

    with locked(path, shared=True), locked(path, shared=True):
        waiting = threading.Thread(target=take)
        waiting.start()
        waiting.join(0.2)
        order.append("shared")
    waiting.join(60)
    assert order == ["shared", "exclusive"]


def test_after_the_lock_file_is_deleted_a_waiting_process_locks_the_next_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"
    took = threading.Event()
    leave = threading.Event()

    def take() -> None:
        with locked(path):
            took.set()
            leave.wait(60)

    waiting = threading.Thread(target=take)
    with locked(path):
        waiting.start()
        waiting.join(0.2)
        path.unlink()
    assert took.wait(60)
    assert path.exists()
    leave.set()
    waiting.join(60)


@pytest.mark.parametrize("missing", ["psutil", "fcntl"])
def test_a_missing_module_is_an_error_that_says_what_to_install(missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from clickstream.__main__ import main\n"
        "raise SystemExit(main(['stack', 'status']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: local servers cannot run here, as the module")
    assert missing in result.stderr
    assert "Traceback" not in result.stderr


def test_a_log_of_10_mib_begins_again_at_the_next_start_and_the_one_before_it_is_kept(
    tmp_path: Path,
) -> None:
    sleeping = Server(
        "sleeper",
        "Sleeper",
        tmp_path,
        (),
        lambda: None,
        lambda _: ["sleep", "300"],
        lambda *_: True,
    )
    sleeping.log.write_text("small\n")
    processes.stop(begin(sleeping, 1))
    assert sleeping.log.read_text() == "small\n"
    sleeping.log.write_bytes(b"x" * MAX_LOG_BYTES)
    processes.stop(begin(sleeping, 1))
    assert sleeping.log.read_text() == ""
    assert (tmp_path / "log.1").stat().st_size == MAX_LOG_BYTES
