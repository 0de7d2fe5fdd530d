"""The stack: the local servers of one folder, with their ports and processes in a state file.

Every change is made under a file lock, so any number of commands may run at once. Ports are kept
as long as they are free, so that settings stay right over `down` and `up`.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from clickstream.errors import UserError
from clickstream.files import replace_file
from clickstream.local import processes, search_server, server
from clickstream.local.kafka_server import broker
from clickstream.local.locks import locked
from clickstream.local.ports import HOST, free_port
from clickstream.local.postgres_server import DATABASE, USER, password_file, postgres
from clickstream.local.processes import Process
from clickstream.local.server import Server

NAMES = ("kafka", "postgres", "opensearch")
# With a server that runs and does not answer: to give up on a busy broker is to lose its log.
PATIENCE_SECONDS = 30.0


class Condition(StrEnum):
    """How a server is."""

    RUNNING = "running"
    STOPPED = "stopped"
    DIED = "died"
    SILENT = "does not answer"
    UNAVAILABLE = "not available on this platform"


@dataclass(frozen=True, slots=True)
class Status:
    """A server as it is now; `port` is None where it never ran, `process` where it was stopped."""

    server: Server
    port: int | None
    process: Process | None
    condition: Condition


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a server; `process` is None after it was stopped."""

    port: int
    process: Process | None


def up(folder: Path, names: Collection[str] = NAMES) -> list[str]:
    """Start the servers that do not run, and wait until they answer; the names of those started.

    names: the servers wanted, some of NAMES. Without a program for it the search server is left
    out. Raises UserError where one cannot be started; the others stay.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    with _held(folder):
        return _start(folder, names)


def down(folder: Path) -> list[str]:
    """Stop the servers; the names of those that ran. Data stay."""
    if not folder.exists():
        return []
    with _held(folder):
        return _stop(folder)


def reset(folder: Path) -> list[str]:
    """Delete everything that the servers hold; those that ran run again, empty, on their ports.

    Returns the names of the ones that run again.
    """
    if not folder.exists():
        return []
    with _held(folder):
        was_up = [name for name, known in _load(folder).items() if known.process]
        _stop(folder)
        for path in contents(folder):
            shutil.rmtree(path)
        return _start(folder, was_up)


def remove(folder: Path) -> None:
    """Stop the servers and delete them with the folder itself."""
    if not folder.exists():
        return
    with _held(folder):
        _stop(folder)
        for path in (*contents(folder), folder):
            shutil.rmtree(path)


def contents(folder: Path) -> list[Path]:
    """The folders that hold the servers' data, as far as they are there."""
    return [each.folder for each in servers(folder) if each.folder.exists()]


def status(folder: Path) -> list[Status]:
    """Every server as it is now."""
    _refuse_foreign(folder)
    state = _load(folder)
    return [_status(each, state.get(each.name)) for each in servers(folder)]


def servers(folder: Path) -> list[Server]:
    """The servers of a stack, available here or not, in the order in which they start."""
    return [broker(folder), postgres(folder), search_server.search(folder)]


def environment(folder: Path) -> dict[str, str]:
    """The settings that lead to the servers which have been started in this folder."""
    state = _load(folder)
    settings = {}
    if "kafka" in state:
        settings["KAFKA_BOOTSTRAP_SERVERS"] = f"{HOST}:{state['kafka'].port}"
        settings["KAFKA_SECURITY_PROTOCOL"] = "PLAINTEXT"
    if "postgres" in state:
        settings |= {
            "POSTGRES_HOST": HOST,
            "POSTGRES_PORT": str(state["postgres"].port),
            "POSTGRES_DATABASE": DATABASE,
            "POSTGRES_USER": USER,
            "POSTGRES_PASSWORD": password_file(folder).read_text(encoding="ascii"),
            "POSTGRES_SSLMODE": "disable",
        }
    settings["OPENSEARCH_HOST"] = HOST if "opensearch" in state else ""
    if "opensearch" in state:
        settings["OPENSEARCH_PORT"] = str(state["opensearch"].port)
        settings["OPENSEARCH_USE_SSL"] = "false"
    return settings


def _start(folder: Path, names: Collection[str]) -> list[str]:
    state = _load(folder)
    started = []
    for each in servers(folder):
        known = state.get(each.name)
        if not _is_wanted(each, names) or (known and _serves(each, known)):
            continue
        port = free_port(known.port if known else None)
        process = server.begin(each, port)
        state[each.name] = Known(port, process)
        _save(folder, state)
        started.append((each, process, port))
    for each, process, port in started:
        server.wait_until_ready(each, process, port)
    return [each.name for each, _, _ in started]


def _is_wanted(each: Server, names: Collection[str]) -> bool:
    return each.name in names and (each.name != "opensearch" or search_server.is_available())


def _serves(each: Server, known: Known) -> bool:
    """Whether a server runs and answers; one that runs and does not is stopped."""
    if known.process is None or not processes.is_running(known.process):
        return False
    try:
        server.wait_until_ready(each, known.process, known.port, PATIENCE_SECONDS)
    except UserError:
        server.stop(each, known.process)
        return False
    return True


def _stop(folder: Path) -> list[str]:
    state = _load(folder)
    ran = []
    for each in reversed(servers(folder)):
        known = state.get(each.name)
        if known is None or known.process is None:
            continue
        if processes.is_running(known.process):
            ran.append(each.name)
        server.stop(each, known.process)
        state[each.name] = Known(known.port, None)
        _save(folder, state)
    return ran


def _status(each: Server, known: Known | None) -> Status:
    if known is None:
        return Status(each, None, None, _condition(each, known))
    return Status(each, known.port, known.process, _condition(each, known))


def _condition(each: Server, known: Known | None) -> Condition:
    if known is None or known.process is None:
        missing = each.name == "opensearch" and not search_server.is_available()
        return Condition.UNAVAILABLE if missing else Condition.STOPPED
    if not processes.is_running(known.process):
        return Condition.DIED
    answers = each.answers(known.process, known.port)
    return Condition.RUNNING if answers else Condition.SILENT


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    _refuse_foreign(folder)
    with locked(folder / "lock"):
        yield


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and folder.stat().st_uid != os.geteuid():
        raise UserError(
            f"the local servers in {folder} belong to another user; run this as that user"
        )


def _load(folder: Path) -> dict[str, Known]:
    path = folder / "state.json"
    if not path.exists():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {name: _known(**entry) for name, entry in stored.items()}
    except (ValueError, TypeError, AttributeError, KeyError):
        raise UserError(
            f"{path} is damaged; stop the servers that still run by hand, and delete it"
        ) from None


def _known(port: int, process: Mapping[str, Any] | None) -> Known:
    if process is None:
        return Known(port, None)
    return Known(port, Process(process["pid"], process["started"], tuple(process["command"])))


def _save(folder: Path, state: Mapping[str, Known]) -> None:
    stored = {name: asdict(known) for name, known in state.items()}
    replace_file(folder / "state.json", json.dumps(stored, indent=2) + "\n")
