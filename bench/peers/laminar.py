"""Events and sessions by LaminarDB, into laminardb_events and laminardb_sessions.

It runs in the environment of requirements.txt, with the settings of this project in environment
variables: python laminar.py STATE_FOLDER
"""

import os
import sys
from time import sleep

import laminardb

POSTGRES = """
    connector = 'postgres-sink', 'hostname' = '{POSTGRES_HOST}', 'port' = '{POSTGRES_PORT}',
    'database' = '{POSTGRES_DATABASE}', 'username' = '{POSTGRES_USER}',
    'password' = '{POSTGRES_PASSWORD}', 'ssl.mode' = 'prefer',
    'write.mode' = 'upsert', 'delivery.guarantee' = 'exactly_once'
""".format_map(os.environ)
STATEMENTS = (
    """
    CREATE SOURCE clicks (
        event_id VARCHAR NOT NULL, user_id VARCHAR NOT NULL, timestamp TIMESTAMP NOT NULL,
        WATERMARK FOR timestamp AS timestamp - INTERVAL '30' SECOND)
    WITH (connector = 'kafka', 'bootstrap.servers' = '{KAFKA_BOOTSTRAP_SERVERS}',
          'topic' = '{KAFKA_TOPIC}', 'group.id' = 'laminardb', 'auto.offset.reset' = 'earliest',
          'format' = 'json')
    """.format_map(os.environ),
    "CREATE STREAM events AS SELECT event_id, user_id FROM clicks",
    """
    CREATE STREAM sessions AS
    SELECT user_id, MIN(timestamp) AS first_time, MAX(timestamp) AS last_time,
           COUNT(*) AS total_events
    FROM clicks
    GROUP BY user_id, SESSION(timestamp, INTERVAL '1800' SECOND)
    EMIT ON WINDOW CLOSE
    """,
    f"""
    CREATE SINK event_rows FROM events
    WITH ({POSTGRES}, 'table.name' = 'laminardb_events', 'primary.key' = 'event_id')
    """,
    f"""
    CREATE SINK session_rows FROM sessions
    WITH ({POSTGRES}, 'table.name' = 'laminardb_sessions', 'primary.key' = 'user_id, first_time')
    """,
)


def main() -> None:
    """Store events and closed sessions until the process is stopped."""
    folder = sys.argv[1]
    config = laminardb.LaminarConfig(storage_dir=folder, checkpoint_interval_ms=1000)
    with laminardb.open(folder, config=config) as connection:
        for statement in STATEMENTS:
            connection.execute(statement)
        connection.start()
        while True:
            sleep(1)


if __name__ == "__main__":
    main()
