"""Indexes of existing tables, built while consumers write.

Building an index of a large table takes minutes. CREATE INDEX CONCURRENTLY blocks no writes, but
cannot be part of a transaction. If it is interrupted, it leaves an invalid index: the next run
drops that and builds it again.
"""

import logging
import re

from psycopg2 import errors

from clickstream.clients.postgres import Connection, Cursor, only_row

logger = logging.getLogger(__name__)

CREATE_INDEX = re.compile(r"^CREATE INDEX IF NOT EXISTS (\w+)(\s[^;]+);\n", re.M)
# The names in the order given. An index that is being built is not valid either.
SELECT_NOT_VALID = """
    SELECT name FROM unnest(%s::text[]) WITH ORDINALITY AS given (name, number)
    WHERE NOT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(name) AND indisvalid)
    ORDER BY number
"""
# Nobody waits for this lock: the process that builds an index waits for all transactions, also for
# one that waits for the lock. The number is arbitrary; it spells "build".
TRY_BUILD_LOCK = f"SELECT pg_try_advisory_lock({0x6275696C64})"
SET_LOCK_TIMEOUT = "SET lock_timeout = %s"


def without_indexes(schema: str) -> str:
    """Return the text of schema.sql without the statements that create an index."""
    return CREATE_INDEX.sub("", schema)


def build_missing(connection: Connection, schema: str, patience_seconds: float) -> None:
    """Build the indexes of schema.sql that are missing or invalid, unless another process does.

    connection: outside a transaction; in autocommit from then on. schema: the text of schema.sql.
    Raises LockNotAvailable if a transaction uses a table for longer than patience_seconds.
    """
    definitions = dict(CREATE_INDEX.findall(schema))
    connection.autocommit = True
    with connection.cursor() as cursor:
        if not _not_valid(cursor, definitions):
            return
        cursor.execute(TRY_BUILD_LOCK)
        if not only_row(cursor)[0]:
            logger.warning("another process is building the missing indexes: not waiting for it")
            return
        cursor.execute(SET_LOCK_TIMEOUT, (f"{patience_seconds:.0f}s",))
        for name in _not_valid(cursor, definitions):
            logger.info("building index %s", name)
            _build(cursor, name, definitions[name])


def _not_valid(cursor: Cursor, definitions: dict[str, str]) -> list[str]:
    cursor.execute(SELECT_NOT_VALID, (list(definitions),))
    return [name for (name,) in cursor]


def _build(cursor: Cursor, name: str, definition: str) -> None:
    """Build an index. definition: its CREATE INDEX statement from the word ON."""
    cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    try:
        cursor.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} {definition}")
    except errors.FeatureNotSupported:  # the table is a hypertable
        cursor.execute(f"CREATE INDEX IF NOT EXISTS {name} {definition}")
