"""Sizes of tables on disk."""

from clickstream.clients.postgres import Cursor, only_row

# With indexes, long values and, if it is a hypertable, the chunks, which inherit from it.
SELECT_TABLE_BYTES = """
    SELECT (pg_total_relation_size(%(table)s::regclass)
            + (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)
               FROM pg_inherits WHERE inhparent = %(table)s::regclass))::bigint
"""


def table_bytes(cursor: Cursor, table: str) -> int:
    """Return the size of a table on disk, with its indexes."""
    cursor.execute(SELECT_TABLE_BYTES, {"table": table})
    return int(only_row(cursor)[0])
