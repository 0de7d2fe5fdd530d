"""The local search server: osmem-server, which speaks OpenSearch's protocol, in memory only."""

from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from signal import SIGTERM

from clickstream.local.ports import HOST
from clickstream.local.processes import Process, is_running
from clickstream.local.server import Server
from clickstream.local.wheels import installed

PROBE_SECONDS = 2
STOP_SECONDS = 5.0


def is_available() -> bool:
    """Return True if the wheel exists for this platform and is installed."""
    return _program() is not None


def search(stack: Path) -> Server:
    """Return the search server of the stack in this folder."""
    folder = stack / "opensearch"
    return Server(
        name="opensearch",
        title="OpenSearch-compatible server (osmem)",
        folder=folder,
        stop_signals=((SIGTERM, STOP_SECONDS),),
        prepare=partial(folder.mkdir, mode=0o700, exist_ok=True),
        command=_command,
        answers=_answers,
    )


def _program() -> Path | None:
    return installed("osmem-server", "osmem_server/bin/osmem-server")


def _command(port: int) -> list[str]:
    # Without -no-stdin-watch it ends when its standard input is closed.
    return [str(_program()), "-addr", f"{HOST}:{port}", "-no-stdin-watch"]


def _answers(process: Process, port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200 and is_running(process)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
