"""Events whose required fields are in the strict form, as the script for websites sends them.

The other fields cannot reject a record, so they are checked to be JSON and not read.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec

from clickstream.model.strict_form import SHORT_NAME
from clickstream.model.timestamps import TimeLimits

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=SHORT_NAME)]


class RequiredFields(msgspec.Struct, gc=False):
    """The fields of an event that can reject it."""

    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    user_id: Name
    event_type: Name


class StrictEvent(NamedTuple):
    """The visitor of an event, and its bytes as they were sent."""

    user_id: str
    text: bytes


_read_object = msgspec.json.Decoder(RequiredFields).decode
_read_array = msgspec.json.Decoder(list[RequiredFields]).decode
_split_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read_strict_events(text: bytes, limits: TimeLimits) -> list[StrictEvent] | None:
    """Return the events in a JSON object or array; None if one of them is not in the strict form.

    text: without blanks at both ends. limits: an event outside of them is not in the strict form.
    """
    try:
        text.decode()  # msgspec does not check this in fields that it does not read
        if text.startswith(b"["):
            events, texts = _read_array(text), [bytes(raw) for raw in _split_array(text)]
        else:
            events, texts = [_read_object(text)], [text]
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return None
    if not _are_acceptable(events, limits):
        return None
    return [StrictEvent(event.user_id, text) for event, text in zip(events, texts, strict=True)]


def _are_acceptable(events: Iterable[RequiredFields], limits: TimeLimits) -> bool:
    """Return True if the consumer accepts events of these times, visitors and types."""
    earliest, latest, _ = limits
    return all(
        # The consumer cuts digits below the microsecond, and msgspec rounds them up to `earliest`.
        earliest < event.timestamp <= latest
        and not event.user_id.isspace()
        and "\0" not in event.user_id
        and "\0" not in event.event_type
        for event in events
    )
