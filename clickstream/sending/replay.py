"""Replay of recorded events: a file becomes records, checked with the consumer's own parser."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

from clickstream.errors import UserError
from clickstream.model.events import InvalidEventError
from clickstream.model.parse import parse
from clickstream.model.reading import Reading
from clickstream.model.strict_form import read_time_and_visitor
from clickstream.sending.delivery import MAX_RECORD_BYTES
from clickstream.sending.formats import JSON_ARRAY, detect_format
from clickstream.sending.input_stream import INPUT_CHUNK_BYTES, name_of, open_input
from clickstream.sending.native_json import Renaming
from clickstream.signals import Stop
from clickstream.simulator.event_json import DUE_NOW, OutgoingRecord, microseconds


@dataclass(slots=True)
class _Rejections:
    """The events that a consumer will reject for one reason.

    number, detail: those of the first event.
    """

    number: int
    detail: str
    count: int = 0


class Replay:
    """The events of a recorded file, and a count of those that a consumer will reject.

    source: a file, or "-" for standard input. renaming: None to send events as they are.
    reading: how the consumer reads records. now: returns the current time (aware).
    strict: stop at the first event that a consumer will reject.
    """

    def __init__(
        self,
        source: str,
        *,
        renaming: Renaming | None,
        reading: Reading,
        now: Callable[[], datetime],
        strict: bool,
    ) -> None:
        self._source = source
        self._renaming = renaming
        self._reading = reading
        self._now = now
        self._strict = strict
        self._unit = ""
        self._events = 0
        self._rejections: dict[str, _Rejections] = {}

    def records(self, stop: Stop) -> Iterator[OutgoingRecord]:
        """Yield a record for each event, keyed by its visitor, until the file ends or a stop comes.

        An event that a consumer will reject becomes a record too, due at once.
        Raises UserError if the file cannot be read or, if strict, has such an event.
        """
        with open_input(self._source, stop) as stream:
            head = _head(stream.chunks)
            detected = detect_format(head, self._source)
            self._unit = detected.unit
            for number, value in detected.read(chain([head], stream.chunks), MAX_RECORD_BYTES):
                if stop.requested:
                    return
                yield self._record(number, value)

    def warning(self) -> str:
        """Return which events a consumer will reject and why; "" if there are none."""
        if not self._rejections:
            return ""
        total = sum(rejections.count for rejections in self._rejections.values())
        reasons = "; ".join(
            f"{each.count} {reason} (the first is {self._unit} {each.number}: {each.detail})"
            for reason, each in self._rejections.items()
        )
        verdict = "is no event" if total == 1 else "are no events"
        return (
            f"{total} of {self._events} {self._unit}s {verdict}, and a consumer will reject "
            f"{'it' if total == 1 else 'them'}: {reasons}"
        )

    def _record(self, number: int, value: bytes) -> OutgoingRecord:
        self._events += 1
        if self._renaming:
            value = self._renaming.apply(value)
        try:
            time, user_id = self._time_and_visitor(number, value)
        except InvalidEventError as error:
            self._reject(number, error)
            return OutgoingRecord(DUE_NOW, error.event and error.event.user_id.encode(), value)
        return OutgoingRecord(microseconds(time), user_id.encode(), value)

    def _time_and_visitor(self, number: int, value: bytes) -> tuple[datetime, str]:
        """Return both as a consumer will read them. Raises InvalidEventError."""
        latest = self._now() + self._reading.max_future
        if not self._reading.field_names.text:
            found = read_time_and_visitor(value, latest, self._reading)
            if found:
                return found
        if len(value) > MAX_RECORD_BYTES:
            raise InvalidEventError(
                "value_too_large", f"It has more than {MAX_RECORD_BYTES} bytes and is not sent."
            )
        event = parse(value, origin=("", 0, number), latest=latest, reading=self._reading)
        return event.event_time, event.user_id

    def _reject(self, number: int, error: InvalidEventError) -> None:
        detail = error.detail.rstrip(".")
        if error.reason == "missing_field":
            detail += "; see --map"
        if self._strict:
            raise UserError(
                f"{self._unit} {number} of {name_of(self._source)} is no event: {detail}; correct "
                "it, or send it as it is without --strict"
            )
        self._rejections.setdefault(error.reason, _Rejections(number, detail)).count += 1


def events_expected(source: str) -> int | None:
    """Return about how many events a file has, estimated from its beginning; None if unknown."""
    if not Path(source).is_file():
        return None
    with open_input(source, Stop()) as stream:
        head = _head(stream.chunks)
        if detect_format(head, source) is JSON_ARRAY:
            return None
        return round(head.count(b"\n") * Path(source).stat().st_size / max(stream.raw.tell(), 1))


def _head(chunks: Iterator[bytes]) -> bytes:
    """Return the beginning of a file: its first line with text in it, if that is not very long."""
    head = b""
    while b"\n" not in head.lstrip() and len(head) < INPUT_CHUNK_BYTES:
        chunk = next(chunks, b"")
        if not chunk:
            break
        head += chunk
    return head
