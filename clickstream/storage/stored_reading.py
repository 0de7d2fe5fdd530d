"""The table record_reading: how the records of this database are read.

The reading decides which event a record is, so all consumers of a database have the same one.
"""

from datetime import datetime

from clickstream.clients.postgres import Cursor
from clickstream.errors import UserError
from clickstream.model.field_names import NATIVE_FIELD_NAMES, FieldNames, parse_field_names
from clickstream.model.reading import Reading

# If the name of one of these changes, a record that is read again becomes another event.
KEY_FIELDS = ("timestamp", "event_id", "user_id")
# If the name of one of these changes, a record that is read again conflicts with its stored event.
CONTENT_FIELDS = ("order_id", "product_id", "price", "quantity")

INSERT_READING = """
    INSERT INTO record_reading (event_fields, event_types, min_event_time, ip_addresses)
    VALUES (%s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
SELECT_READING = """
    SELECT event_fields, event_types, min_event_time, ip_addresses FROM record_reading
"""
REPLACE_READING = """
    INSERT INTO record_reading (event_fields, event_types, min_event_time, ip_addresses)
    VALUES (%s, %s, %s, %s)
    ON CONFLICT (only_row) DO UPDATE
    SET event_fields = excluded.event_fields, event_types = excluded.event_types,
        min_event_time = excluded.min_event_time, ip_addresses = excluded.ip_addresses
"""
HAS_RECORDS = "SELECT EXISTS (SELECT FROM stream_positions WHERE records > 0)"
ADD_RENAMED_FIELDS = """
    UPDATE record_reading
    SET renamed_fields = ARRAY(SELECT DISTINCT name
                               FROM unnest(renamed_fields || %s::text[]) AS name ORDER BY name)
"""
SELECT_RENAMED_FIELDS = "SELECT renamed_fields FROM record_reading"

# EVENT_FIELDS, EVENT_TYPES, MIN_EVENT_TIME and IP_ADDRESSES.
Values = tuple[str, str, datetime, str]


def adopt(cursor: Cursor, reading: Reading) -> None:
    """Store the reading if there is none.

    Raises UserError if the records of this database are read in another way.
    """
    cursor.execute(INSERT_READING, _values(reading))
    require(cursor, reading)


def require(cursor: Cursor, reading: Reading) -> None:
    """Raise UserError if another reading than this one is stored."""
    stored = _stored(cursor)
    if stored is not None and stored != _values(reading):
        raise UserError(
            f"the records of this database are read with other settings ({_text(stored)}) than "
            f"these ({_text(_values(reading))}); either set the old values again, or accept the "
            "new ones, for records read from then on, with: python create_schema.py --reading"
        )


def replace(cursor: Cursor, reading: Reading) -> None:
    """Store another reading; the caller makes every consumer acquire its partitions again."""
    stored = _stored(cursor)
    cursor.execute(REPLACE_READING, _values(reading))
    cursor.execute(HAS_RECORDS)
    if stored is not None and cursor.fetchone() == (True,):
        cursor.execute(ADD_RENAMED_FIELDS, (_renamed(stored[0], reading),))


def renamed_fields(cursor: Cursor) -> list[str]:
    """Return the fields whose names changed after records had been read."""
    cursor.execute(SELECT_RENAMED_FIELDS)
    row = cursor.fetchone()
    return list(row[0]) if row else []


def field_names(cursor: Cursor) -> FieldNames:
    """Return the stored names of fields, or the native ones if no consumer has stored any."""
    stored = _stored(cursor)
    return NATIVE_FIELD_NAMES if stored is None else parse_field_names(stored[0])


def _renamed(old_names: str, reading: Reading) -> list[str]:
    old, new = parse_field_names(old_names).paths, reading.field_names.paths
    return [field for field in (*KEY_FIELDS, *CONTENT_FIELDS) if old[field] != new[field]]


def _stored(cursor: Cursor) -> Values | None:
    cursor.execute(SELECT_READING)
    row = cursor.fetchone()
    return None if row is None else (row[0], row[1], row[2], row[3])


def _values(reading: Reading) -> Values:
    return (
        reading.field_names.text,
        reading.event_types.text,
        reading.min_event_time,
        reading.ip_addresses.value,
    )


def _text(values: Values) -> str:
    fields, types, earliest, addresses = values
    return (
        f"EVENT_FIELDS={fields!r} EVENT_TYPES={types!r} MIN_EVENT_TIME={earliest.isoformat()} "
        f"IP_ADDRESSES={addresses}"
    )
