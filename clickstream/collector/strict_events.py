"""Events in the form that the script for websites sends: read in one pass.

Only a time, and the visitor for the key, are read; the rest is checked to be JSON.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from clickstream.model.strict_form import SHORT_NAME
from clickstream.model.timestamps import TimeLimits


class StrictFields(msgspec.Struct, gc=False):
    """The fields of an event that decide if it is accepted, and its key."""

    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    user_id: Annotated[str, msgspec.Meta(min_length=1, max_length=SHORT_NAME)]


# A user_id, and the bytes of an event as they were sent.
VisitorEvent = tuple[str, bytes]

_read_object = msgspec.json.Decoder(StrictFields).decode
_read_array = msgspec.json.Decoder(list[StrictFields]).decode
_split_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read_strict_events(text: bytes, limits: TimeLimits) -> list[VisitorEvent] | None:
    """Return the events in a JSON object or array; None if one of them is not in the strict form.

    text: without blanks at both ends. limits: an event outside of them is not in the strict form.
    """
    try:
        text.decode()  # msgspec does not check this in fields that it does not read
        if text.startswith(b"["):
            events, parts = _read_array(text), [bytes(part) for part in _split_array(text)]
        else:
            events, parts = [_read_object(text)], [text]
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return None
    # The consumer cuts digits below the microsecond; msgspec rounds them, perhaps up to `earliest`.
    earliest, latest, _ = limits
    if not all(
        earliest < event.timestamp <= latest and "\0" not in event.user_id for event in events
    ):
        return None
    return [(event.user_id, part) for event, part in zip(events, parts, strict=True)]
