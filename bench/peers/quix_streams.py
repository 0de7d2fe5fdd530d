"""Events and sessions by Quix Streams, into quix_events and quix_sessions.

It runs in the environment of requirements.txt, with the settings of this project in environment
variables: python quix_streams.py STATE_FOLDER
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows import Count, Max, Min
from quixstreams.sinks.community.postgresql import PostgreSQLSink

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SERVER = {
    "host": os.environ["POSTGRES_HOST"],
    "port": int(os.environ["POSTGRES_PORT"]),
    "dbname": os.environ["POSTGRES_DATABASE"],
    "user": os.environ["POSTGRES_USER"],
    "password": os.environ["POSTGRES_PASSWORD"],
}


def event_time(value: dict[str, Any], *_: object) -> int:
    """Return the time of an event, milliseconds since 1970."""
    return (datetime.fromisoformat(value["timestamp"]) - EPOCH) // timedelta(milliseconds=1)


def main() -> None:
    """Store events and closed sessions until the process is stopped."""
    app = Application(
        broker_address=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        consumer_group="quix-streams",
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        state_dir=sys.argv[1],
        commit_interval=1.0,
    )
    topic = app.topic(
        os.environ["KAFKA_TOPIC"], key_deserializer="str", timestamp_extractor=event_time
    )
    events = app.dataframe(topic)
    rows = events.apply(lambda value: {name: value[name] for name in ("event_id", "user_id")})
    rows.sink(
        PostgreSQLSink(
            **SERVER,
            table_name="quix_events",
            primary_key_columns="event_id",
            upsert_on_primary_key=True,
        )
    )
    sessions = (
        events.apply(lambda value: event_time(value))
        .session_window(timedelta(minutes=30), grace_ms=timedelta(seconds=30))
        .agg(total_events=Count(), first_ms=Min(), last_ms=Max())
        .final(closing_strategy="partition")
    )
    sessions.sink(
        PostgreSQLSink(
            **SERVER,
            table_name="quix_sessions",
            primary_key_columns=("__key", "start"),
            upsert_on_primary_key=True,
        )
    )
    app.run()


if __name__ == "__main__":
    main()
