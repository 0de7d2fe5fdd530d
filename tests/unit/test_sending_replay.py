"""Recorded events are sent as they are; those that a consumer will reject are reported."""

import gzip
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clickstream.errors import UserError
from clickstream.model.field_names import (
    NATIVE_EVENT_TYPES,
    parse_event_types,
    parse_field_names,
)
from clickstream.model.reading import Reading
from clickstream.sending.native_json import Renaming
from clickstream.sending.replay import Replay, events_expected
from clickstream.signals import Stop
from clickstream.simulator.event_json import DUE_NOW, OutgoingRecord
from tests.unit.recordings import write

GOOD = b'{"user_id": "a", "event_type": "click", "timestamp": "2025-01-01T00:00:00Z"}'
TIME = 1_735_689_600_000_000
NOW = datetime(2025, 1, 1, tzinfo=UTC)
SHOP = """timestamp,visitorid,event,itemid,transactionid
1735689600000,257597,view,355908,
1735689600001,257597,transaction,355908,4000
"""


def replay_of(path: Path, *, strict: bool = False, names: str = "", types: str = "") -> Replay:
    renaming = Renaming(parse_field_names(names), parse_event_types(types))
    return Replay(
        str(path),
        renaming=renaming if names or types else None,
        reading=Reading(max_future=timedelta(hours=1)),
        now=lambda: NOW,
        strict=strict,
    )


def read(path: Path, *, strict: bool = False) -> list[OutgoingRecord]:
    return list(replay_of(path, strict=strict).records(Stop()))


def warning(path: Path, names: str = "") -> str:
    """Return what is said about a file at the end of its replay."""
    replay = replay_of(path, names=names)
    assert list(replay.records(Stop()))
    return replay.warning()


# == Records ====================================================================================


def test_a_line_is_sent_byte_for_byte_keyed_by_its_visitor(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD + b"\n\n  " + GOOD + b" \r\n" + GOOD)
    records = [OutgoingRecord(TIME, b"a", value) for value in (GOOD, b"  " + GOOD + b" ", GOOD)]
    assert read(path) == records


@pytest.mark.parametrize(
    ("timestamp", "due"),
    [
        (b'"2025-01-01T00:00:00"', TIME),
        (b'"2025-01-01T01:00:00.000001+01:00"', TIME + 1),
        (b"1735689600", TIME),
        (b"1735689600000", TIME),
        (b"1735689600.5", TIME + 500_000),
    ],
)
def test_an_event_is_due_at_its_timestamp(tmp_path: Path, timestamp: bytes, due: int) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD.replace(b'"2025-01-01T00:00:00Z"', timestamp))
    assert read(path)[0].due == due


BAD_LINES = [
    b"not json",
    b"\xff\xfe",
    b"[]",
    b"7",
    b'{"event_type": "click", "timestamp": 1}',
    b'{"user_id": true, "event_type": "click", "timestamp": 1735689600}',
    b'{"user_id": "a", "event_type": 7, "timestamp": 1735689600}',
    b'{"user_id": "a", "event_type": "click", "timestamp": "yesterday"}',
    b'{"user_id": "a", "event_type": "click", "timestamp": 1e300}',
    b'{"user_id": "a", "event_type": "click", "timestamp": true}',
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_line_that_is_no_event_is_sent_as_it_is_without_a_key(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD + b"\n" + line + b"\n")
    assert read(path) == [OutgoingRecord(TIME, b"a", GOOD), OutgoingRecord(DUE_NOW, None, line)]


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_strict_replay_stops_before_a_line_that_is_no_event(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD)
    records = replay_of(path, strict=True).records(Stop())
    assert next(records).value == GOOD
    with pytest.raises(UserError, match=r"line 2 of .*events\.ndjson is no event: "):
        next(records)


@pytest.mark.parametrize("time", [b"9999-01-01", b"2025-01-01T01:00:00.000001", b"1970-01-01"])
def test_an_event_of_a_time_that_is_not_accepted_keeps_its_key_and_is_due_at_once(
    tmp_path: Path, time: bytes
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD.replace(b"2025-01-01T00:00:00Z", time))
    assert [(record.key, record.due) for record in read(path)] == [(b"a", DUE_NOW)]


def test_an_event_of_the_latest_accepted_time_is_due_then(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD.replace(b"T00:00:00Z", b"T01:00:00Z"))
    assert read(path)[0].due == TIME + 3_600_000_000


def test_an_integer_is_a_visitor_too(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD.replace(b'"a"', b"42.0"))
    assert read(path)[0].key == b"42"


def test_other_names_are_mapped_and_the_key_is_the_mapped_visitor(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.csv", SHOP)
    names = "user_id=visitorid; event_type=event; product_id=itemid; order_id=transactionid"
    replay = replay_of(path, names=names, types="page_view=view; purchase=transaction")
    records = list(replay.records(Stop()))
    assert [record.key for record in records] == [b"257597", b"257597"]
    assert [record.due for record in records] == [TIME, TIME + 1_000]
    assert b'"event_type":"purchase"' in (records[1].value or b"")
    assert b'"order_id":"4000"' in (records[1].value or b"")
    assert replay.warning() == ""


def test_the_names_of_event_fields_apply_without_a_map(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.csv", SHOP)
    names = parse_field_names("user_id=visitorid; event_type=event")
    reading = Reading(names, NATIVE_EVENT_TYPES)
    replay = Replay(str(path), renaming=None, reading=reading, now=lambda: NOW, strict=True)
    assert [record.key for record in replay.records(Stop())] == [b"257597", b"257597"]


# == Warnings ===================================================================================


def test_a_file_without_faults_gives_no_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "events.ndjson", GOOD.decode())
    assert warning(path) == ""


def test_rejected_events_are_counted_by_reason_with_the_first_of_each(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join([GOOD, b"[]", b"", b"[]", b"not json", GOOD]))
    assert warning(path) == (
        "3 of 5 lines are no events, and a consumer will reject them: "
        "2 not_an_object (the first is line 2: The value is an array: send one event per record); "
        "1 not_json (the first is line 5: The value is not JSON: "
        "Expecting value: line 1 column 1 (char 0))"
    )


def test_fields_of_other_names_are_listed_with_the_option_that_maps_them(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.csv", SHOP)
    found = warning(path)
    assert found.startswith("2 of 2 lines are no events")
    assert "event_type and user_id are missing (there are: visitorid, event, itemid" in found
    assert "see --map" in found


def test_the_warning_about_one_element_is_in_the_singular(tmp_path: Path) -> None:
    path = write(tmp_path / "events.json", f"[{GOOD.decode()}, 7]")
    assert warning(path).startswith(
        "1 of 2 elements is no event, and a consumer will reject it: 1 not_an_object "
        "(the first is element 2: "
    )


def test_an_array_inside_of_json_lines_is_one_record(tmp_path: Path) -> None:
    path = write(tmp_path / "events.ndjson", f"[{GOOD.decode()}]")
    (record,) = read(path)
    assert record.value == b"[" + GOOD + b"]"
    assert "send one event per record" in warning(path)


# == Bounds =====================================================================================


def test_a_line_too_long_to_send_is_cut_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(GOOD + b"\n")
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + GOOD)
    replay = replay_of(path)
    tracemalloc.start()
    sizes = [len(record.value or b"") for record in replay.records(Stop())]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sizes == [len(GOOD), (1 << 24) + 1, len(GOOD)]
    assert peak < 60_000_000
    assert "line 2: It has more than 16777216 bytes and is not sent" in replay.warning()


@pytest.mark.parametrize("suffix", [".ndjson", ".json", ".csv"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, suffix: str) -> None:
    event = GOOD.replace(b'"a"', b'"a", "note": "%s"' % (b"x" * 2_000))
    row = b"a,click,2025-01-01T00:00:00Z,%s\n" % (b"x" * 2_000)
    first, between, last = {
        ".ndjson": (b"", event + b"\n", b""),
        ".json": (b"[", event + b",", event + b"]"),
        ".csv": (b"user_id,event_type,timestamp,note\n", row, b""),
    }[suffix]
    path = tmp_path / f"events{suffix}.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(first)
        for _ in range(20):
            file.write(between * 100)
        file.write(last)
    replay = replay_of(path)
    tracemalloc.start()
    number = sum(1 for _ in replay.records(Stop()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == 2_000 + (suffix == ".json")
    assert peak < 1_000_000
    assert replay.warning() == ""


# == The display and the stop ===================================================================


@pytest.mark.parametrize("name", ["events.ndjson", "events.ndjson.gz"])
@pytest.mark.parametrize("lines", [0, 3, 100_000])
def test_the_number_of_lines_is_estimated_from_the_first_ones(
    tmp_path: Path, name: str, lines: int
) -> None:
    content = b"".join(b'{"number": %d, "x": "%d"}\n' % (n, n * n) for n in range(lines))
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert events_expected(str(path)) == pytest.approx(lines, rel=0.3)


def test_the_number_of_events_of_standard_input_or_of_an_array_is_unknown(tmp_path: Path) -> None:
    assert events_expected("-") is None
    assert events_expected(str(write(tmp_path / "events.json", "[1, 2]"))) is None


def test_a_stop_ends_the_replay(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes((GOOD + b"\n") * 10)
    stop = Stop()
    records = replay_of(path).records(stop)
    next(records)
    stop.request()
    assert list(records) == []
