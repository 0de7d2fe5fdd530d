"""The version of the tables, which grows with each change of schema.sql."""

from clickstream.clients.postgres import Cursor, only_row
from clickstream.errors import UserError

# The version of schema.sql, and of the last file in the folder upgrades.
SCHEMA_VERSION = 6

HAS_VERSION_TABLE = "SELECT to_regclass('schema_version') IS NOT NULL"
SELECT_SCHEMA_VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"


def read(cursor: Cursor) -> int:
    """Return the version of the tables; 0 if there are none."""
    cursor.execute(HAS_VERSION_TABLE)
    if not only_row(cursor)[0]:
        return 0
    cursor.execute(SELECT_SCHEMA_VERSION)
    return int(only_row(cursor)[0])


def refuse_newer(version: int) -> None:
    """Raise UserError if this program is too old for tables of this version."""
    if version > SCHEMA_VERSION:
        raise UserError(
            f"the tables are of schema version {version} and this program knows version "
            f"{SCHEMA_VERSION}; use the newer version of the program"
        )


def require(cursor: Cursor) -> int:
    """Return the version of the tables. Raises UserError unless it is that of this program."""
    version = read(cursor)
    refuse_newer(version)
    if version == 0:
        raise UserError("the tables are missing; create them with: python create_schema.py")
    if version < SCHEMA_VERSION:
        raise UserError(
            f"the tables are of schema version {version} and this program needs version "
            f"{SCHEMA_VERSION}; upgrade them with: python create_schema.py"
        )
    return version
