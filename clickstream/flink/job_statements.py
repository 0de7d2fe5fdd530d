"""The statements of the Flink job: the files of flink/ with the connections filled in.

The files are as Aiven for Apache Flink takes them: the addresses are empty, and the service fills
them in. Here they come from the settings.
"""

from collections.abc import Mapping
from pathlib import Path

from clickstream.errors import UserError
from clickstream.flink.connector_options import kafka_options, postgres_options
from clickstream.settings import Settings

# Parts of the files that are replaced.
NO_SERVERS = "'properties.bootstrap.servers' = ''"
NO_DATABASE = "'url' = 'jdbc:postgresql://'"
TOPIC = "'topic' = 'clickstream-events'"
IDLE_TIMEOUT = "'scan.watermark.idle-timeout' = '1 min'"
GAP = "INTERVAL '30' MINUTE"

BOUNDED = {"scan.bounded.mode": "latest-offset"}
# A bounded job needs no idle timeout, and on a busy machine a partition may be unread for longer.
NO_IDLE_TIMEOUT = "'scan.watermark.idle-timeout' = '0 ms'"


def job_statements(folder: Path, settings: Settings, *, bounded: bool) -> list[str]:
    """Return the statements in order: those that create tables, then the job.

    folder: flink/. bounded: end at what is in the topic now, and close all sessions then. Raises
    UserError if the session rule of the settings is not possible in the job, or if a certificate
    cannot be used.
    """
    _check_rule(settings)
    connections = {
        NO_SERVERS: _text(kafka_options(settings) | (BOUNDED if bounded else {})),
        NO_DATABASE: _text(postgres_options(settings)),
        TOPIC: _text({"topic": settings.kafka_topic}),
    }
    if bounded:
        connections[IDLE_TIMEOUT] = NO_IDLE_TIMEOUT
    tables = [_replaced(path, connections) for path in sorted((folder / "tables").glob("*.sql"))]
    return [*tables, _replaced(folder / "job.sql", {GAP: _gap(settings.session_timeout_seconds)})]


def _replaced(path: Path, parts: Mapping[str, str]) -> str:
    text = path.read_text(encoding="utf-8")
    for part, replacement in parts.items():
        text = text.replace(part, replacement)
    return text


def _text(options: Mapping[str, str]) -> str:
    """Return options of a table as SQL."""
    quoted = (f"{_literal(name)} = {_literal(value)}" for name, value in options.items())
    return ",\n    ".join(quoted)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _gap(seconds: int) -> str:
    """Return the session timeout as an interval. A unit alone would allow two digits only."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"INTERVAL '{day} {hour:02}:{minute:02}:{second:02}' DAY(3) TO SECOND"


def _check_rule(settings: Settings) -> None:
    if settings.session_start_events or settings.session_end_events:
        raise UserError(
            "SESSION_START_EVENTS or SESSION_END_EVENTS is set, and a session window of Flink SQL "
            "cannot be split by the type of an event; leave both empty to use Flink"
        )
