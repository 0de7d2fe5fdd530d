"""Queries of a history, to a PostgreSQL that may be down meanwhile."""

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg2

from clickstream.clients.postgres import Connection, connect
from clickstream.settings import Settings

COUNT_RECORDS = "SELECT coalesce(sum(records), 0)::int FROM stream_positions"
OWNERS = "SELECT DISTINCT owner FROM stream_positions"
CONSUMERS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'clickstream consumer'
"""
COUNTERS = """
    SELECT sum(position)::int AS positions, sum(records)::int AS records,
           sum(duplicates)::int AS duplicates, sum(rejected)::int AS rejected,
           sum(removed)::int AS removed,
           (SELECT count(*) FROM clickstream_events)::int AS rows,
           (SELECT count(*) FROM rejected_events)::int AS rejected_rows
    FROM stream_positions
"""
REPAIRED = """
    SELECT field, count(*)::int FROM clickstream_events, unnest(repaired) AS field GROUP BY field
"""


class Tables:
    """A connection to the database of a history, opened again if it breaks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: Connection | None = None

    def records(self) -> int | None:
        """Return the number of records stored so far; None if PostgreSQL does not answer."""
        rows = self._try(COUNT_RECORDS)
        return None if rows is None else int(rows[0][0])

    def owns_nothing(self, pid: int) -> bool:
        """Return True if a process owns no partition; False if PostgreSQL does not answer."""
        rows = self._try(OWNERS)
        return rows is not None and all(not owner.endswith(f" {pid}") for (owner,) in rows)

    def has_no_consumer(self) -> bool:
        """Return True if PostgreSQL has ended all connections of consumers that were killed."""
        return self._try(CONSUMERS) == []

    def differences(
        self, *, records: int, rejected: int, duplicates: int, repaired: Mapping[str, int]
    ) -> Iterator[str]:
        """Yield a sentence for each counter that is not as expected."""
        self.close()  # a restart of PostgreSQL may have broken the connection
        names = (
            "positions",
            "records",
            "duplicates",
            "rejected",
            "removed",
            "rows",
            "rejected_rows",
        )
        found = dict(zip(names, self._read(COUNTERS)[0], strict=True))
        expected = {
            "positions": records,
            "records": records,
            "duplicates": duplicates,
            "rejected": rejected,
            "removed": 0,
            "rows": records - duplicates - rejected,
            "rejected_rows": rejected,
        }
        if found != expected:
            yield f"the counters are {found}, not {expected}"
        fields = dict(self._read(REPAIRED))
        if fields != repaired:
            yield f"the repaired fields are {fields}, not {dict(repaired)}"

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, query: str) -> list[tuple[Any, ...]] | None:
        try:
            return self._read(query)
        except psycopg2.Error:
            self.close()
            return None

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = connect(self._settings, application="crash test")
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
