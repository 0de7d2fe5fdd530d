"""Events in the form that the script for websites sends: read in one pass.

Only the time and the visitor of each event are read. The rest is only checked to be JSON.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from clickstream.collector.kafka_records import MAX_EVENT_BYTES, KafkaRecord
from clickstream.model.strict_form import SHORT_NAME
from clickstream.model.timestamps import TimeLimits


class StrictFields(msgspec.Struct, gc=False):
    """The fields of an event that decide if it is accepted, and its key."""

    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    user_id: Annotated[str, msgspec.Meta(min_length=1, max_length=SHORT_NAME)]


_read_object = msgspec.json.Decoder(StrictFields).decode
_read_array = msgspec.json.Decoder(list[StrictFields]).decode
_split_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def strict_records(
    text: bytes, limits: TimeLimits, before: bytes, after: bytes
) -> list[KafkaRecord] | None:
    """Return a record for each event of a JSON object or array.

    text: without blanks at both ends. before, after: the bytes in place of the braces of each
    event. Returns None if an event is not in the strict form, too large, or outside the limits.
    """
    try:
        text.decode()  # msgspec does not check this in fields that it does not read
        if text.startswith(b"["):
            events, parts = _read_array(text), [bytes(part) for part in _split_array(text)]
        else:
            events, parts = [_read_object(text)], [text]
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return None
    earliest, latest, _ = limits
    records: list[KafkaRecord] = []
    for event, part in zip(events, parts, strict=True):
        user_id = event.user_id
        # The consumer cuts digits below the microsecond. msgspec rounds them, even to `earliest`.
        is_acceptable = earliest < event.timestamp <= latest and "\0" not in user_id
        if not is_acceptable or len(part) > MAX_EVENT_BYTES:
            return None
        records.append((user_id.encode(), b"".join((before, part[1:-1], after))))
    return records
