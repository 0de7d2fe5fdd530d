"""The pipelines that are compared: their commands, and the queries of what they have stored."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.scripts import PROJECT
from bench.servers import environment
from clickstream.settings import Settings

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables in which a side stores events and sessions.

    events: the table, with a column event_id. sessions: a query of the table that has the columns
    user_id, first and last event time in milliseconds since 1970, and number of events.
    """

    events: str
    sessions_table: str
    sessions: str


@dataclass(frozen=True, slots=True)
class Side:
    """A pipeline from the topic to PostgreSQL.

    command: returns its command, given the Python of the peers and a folder for its state.
    """

    command: Callable[[str, Path], list[str]]
    tables: Tables

    def start(self, settings: Settings, python: str, folder: Path) -> subprocess.Popen[bytes]:
        """Start it in the background; its log goes into the folder."""
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                self.command(python, folder),
                cwd=PROJECT,
                env=environment(settings),
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def _milliseconds(column: str) -> str:
    return f"floor(extract(epoch FROM {column}) * 1000)::bigint"


def _ours(command: list[str], events: str, sessions: str) -> Side:
    """Return a side whose session table has the columns of session_metrics."""
    first, last = map(_milliseconds, ("first_event_timestamp", "last_event_timestamp"))
    query = f"SELECT user_id, {first}, {last}, total_events FROM {sessions}"
    return Side(lambda *_: [sys.executable, *command], Tables(events, sessions, query))


SIDES = {
    "this pipeline": _ours(["consumer.py"], "clickstream_events", "session_metrics"),
    "Flink SQL": _ours(["-m", "clickstream", "flink", "run"], "flink_events", "flink_sessions"),
    "Quix Streams": Side(
        lambda python, folder: [python, str(HERE / "quix_streams.py"), str(folder / "state")],
        Tables(
            "quix_events",
            "quix_sessions",
            "SELECT __key, first_ms, last_ms, total_events FROM quix_sessions",
        ),
    ),
    "LaminarDB": Side(
        lambda python, folder: [python, str(HERE / "laminar.py"), str(folder / "state")],
        Tables(
            "laminardb_events",
            "laminardb_sessions",
            f"SELECT user_id, {_milliseconds('first_time')}, {_milliseconds('last_time')},"
            " total_events FROM laminardb_sessions",
        ),
    ),
}
