"""The stack: the local servers of one folder, with their ports and processes in a state file.

Every change is made under a file lock, so several commands may run at once. A server gets its
earlier port again if that is free, so that settings stay valid over `down` and `up`.
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
from clickstream.generated_files import replace_file
from clickstream.local import processes, search_server, server
from clickstream.local.kafka_server import broker
from clickstream.local.locks import locked
from clickstream.local.ports import HOST, free_port
from clickstream.local.postgres_server import DATABASE, USER, password_file, postgres
from clickstream.local.processes import Process
from clickstream.local.server import Server

SERVER_NAMES = ("kafka", "postgres", "opensearch")
# Wait for a running server that does not answer: restarting a busy broker would lose its log.
PATIENCE_SECONDS = 30.0


class Condition(StrEnum):
    """State of a server, as it is printed."""

    RUNNING = "running"
    STOPPED = "stopped"
    DIED = "died"
    SILENT = "does not answer"
    UNAVAILABLE = "not available on this platform"


@dataclass(frozen=True, slots=True)
class Status:
    """Current state of a server; `port` is None if it never ran, `process` if it was stopped."""

    server: Server
    port: int | None
    process: Process | None
    condition: Condition


@dataclass(frozen=True, slots=True)
class Entry:
    """Entry of the state file; `process` is None after a stop."""

    port: int
    process: Process | None


def up(folder: Path, names: Collection[str] = SERVER_NAMES) -> list[str]:
    """Start the servers that do not run, wait until they answer, and return their names.

    names: the wanted ones of SERVER_NAMES. The search server is left out on platforms without it.
    Raises UserError if one cannot be started; the others keep running.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    with _held(folder):
        return _start(folder, names)


def down(folder: Path) -> list[str]:
    """Stop the servers and return the names of those that ran. The data is kept."""
    if not folder.exists():
        return []
    with _held(folder):
        return _stop(folder)


def reset(folder: Path) -> list[str]:
    """Delete all data, restart the servers that were running, and return their names.

    They keep their ports.
    """
    if not folder.exists():
        return []
    with _held(folder):
        was_up = [name for name, entry in _load(folder).items() if entry.process]
        _stop(folder)
        for path in contents(folder):
            shutil.rmtree(path)
        return _start(folder, was_up)


def remove(folder: Path) -> None:
    """Stop the servers and delete their data and the folder."""
    if not folder.exists():
        return
    with _held(folder):
        _stop(folder)
        for path in (*contents(folder), folder):
            shutil.rmtree(path)


def contents(folder: Path) -> list[Path]:
    """Return the existing data folders of the servers."""
    return [each.folder for each in servers(folder) if each.folder.exists()]


def status(folder: Path) -> list[Status]:
    """Return the current state of every server."""
    _refuse_foreign(folder)
    state = _load(folder)
    return [_status(each, state.get(each.name)) for each in servers(folder)]


def servers(folder: Path) -> list[Server]:
    """Return all servers of a stack in the order of their start, also unavailable ones."""
    return [broker(folder), postgres(folder), search_server.search(folder)]


def environment(folder: Path) -> dict[str, str]:
    """Return the settings for the servers that were started in this folder."""
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
        entry = state.get(each.name)
        if not _is_wanted(each, names) or (entry and _serves(each, entry)):
            continue
        port = free_port(entry.port if entry else None)
        process = server.begin(each, port)
        state[each.name] = Entry(port, process)
        _save(folder, state)
        started.append((each, process, port))
    for each, process, port in started:
        server.wait_until_ready(each, process, port)
    return [each.name for each, _, _ in started]


def _is_wanted(each: Server, names: Collection[str]) -> bool:
    return each.name in names and (each.name != "opensearch" or search_server.is_available())


def _serves(each: Server, entry: Entry) -> bool:
    """Return True if a server runs and answers; stop it if it runs and does not answer."""
    if entry.process is None or not processes.is_running(entry.process):
        return False
    try:
        server.wait_until_ready(each, entry.process, entry.port, PATIENCE_SECONDS)
    except UserError:
        server.stop(each, entry.process)
        return False
    return True


def _stop(folder: Path) -> list[str]:
    state = _load(folder)
    ran = []
    for each in reversed(servers(folder)):
        entry = state.get(each.name)
        if entry is None or entry.process is None:
            continue
        if processes.is_running(entry.process):
            ran.append(each.name)
        server.stop(each, entry.process)
        state[each.name] = Entry(entry.port, None)
        _save(folder, state)
    return ran


def _status(each: Server, entry: Entry | None) -> Status:
    if entry is None:
        return Status(each, None, None, _condition(each, entry))
    return Status(each, entry.port, entry.process, _condition(each, entry))


def _condition(each: Server, entry: Entry | None) -> Condition:
    if entry is None or entry.process is None:
        missing = each.name == "opensearch" and not search_server.is_available()
        return Condition.UNAVAILABLE if missing else Condition.STOPPED
    if not processes.is_running(entry.process):
        return Condition.DIED
    answers = each.answers(entry.process, entry.port)
    return Condition.RUNNING if answers else Condition.SILENT


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    _refuse_foreign(folder)
    with locked(folder / "lock"):
        yield


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and folder.stat().st_uid != os.geteuid():
        raise UserError(
            f"the local servers in {folder} belong to another user; run the command as that user"
        )


def _load(folder: Path) -> dict[str, Entry]:
    path = folder / "state.json"
    if not path.exists():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {name: _entry(**entry) for name, entry in stored.items()}
    except (ValueError, TypeError, AttributeError, KeyError):
        raise UserError(
            f"{path} is damaged; stop the running servers by hand and delete the file"
        ) from None


def _entry(port: int, process: Mapping[str, Any] | None) -> Entry:
    if process is None:
        return Entry(port, None)
    return Entry(port, Process(process["pid"], process["started"], tuple(process["command"])))


def _save(folder: Path, state: Mapping[str, Entry]) -> None:
    stored = {name: asdict(entry) for name, entry in state.items()}
    replace_file(folder / "state.json", json.dumps(stored, indent=2) + "\n")
