"""Recorded events are sent line by line, whatever is in them."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from clickstream.errors import UserError
from clickstream.sending.replay import lines_expected, replay
from clickstream.signals import Stop
from clickstream.simulator.event_json import DUE_NOW, SECOND, OutgoingRecord

GOOD = b'{"user_id": "a", "event_type": "click", "timestamp": "2025-01-01T00:00:00Z"}'
TIME = 1_735_689_600_000_000
LATEST = TIME + 3600 * SECOND


def read(path: Path, *, strict: bool = False) -> list[OutgoingRecord]:
    return list(replay(str(path), Stop(), latest=LATEST, strict=strict))


def test_a_line_is_sent_as_it_is_keyed_by_its_visitor(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD + b"\n\n  " + GOOD + b"\r\n" + GOOD)
    assert read(path) == [OutgoingRecord(TIME, b"a", GOOD)] * 3


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson.gz"
    path.write_bytes(gzip.compress(GOOD + b"\n" + GOOD + b"\n"))
    assert read(path) == [OutgoingRecord(TIME, b"a", GOOD)] * 2


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
def test_recorded_times_are_understood(tmp_path: Path, timestamp: bytes, due: int) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD.replace(b'"2025-01-01T00:00:00Z"', timestamp))
    assert read(path)[0].due == due


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"7",
        b'{"event_type": "click", "timestamp": 1}',
        b'{"user_id": true, "event_type": "click", "timestamp": 1}',
        b'{"user_id": "a", "event_type": 7, "timestamp": 1}',
        b'{"user_id": "a", "event_type": "click", "timestamp": "yesterday"}',
        b'{"user_id": "a", "event_type": "click", "timestamp": 1e300}',
        b'{"user_id": "a", "event_type": "click", "timestamp": true}',
    ],
)
def test_a_bad_line_is_sent_as_it_is_unless_strict(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD + b"\n" + line + b"\n")
    assert read(path) == [OutgoingRecord(TIME, b"a", GOOD), OutgoingRecord(DUE_NOW, None, line)]
    with pytest.raises(UserError, match=r"line 2 of .*events\.ndjson"):
        read(path, strict=True)


def test_nobody_waits_for_an_event_that_has_not_happened_yet(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    future = GOOD.replace(b"2025-01-01T00", b"9999-01-01T00")
    path.write_bytes(future + b"\n" + GOOD.replace(b"00:00:00Z", b"01:00:00Z"))
    assert [(record.key, record.due) for record in read(path)] == [
        (b"a", DUE_NOW),
        (b"a", LATEST),
    ]


def test_a_whole_number_is_a_visitor_too(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(GOOD.replace(b'"a"', b"42"))
    assert read(path)[0].key == b"42"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.ndjson", None),
        ("missing.ndjson.gz", None),
        ("plain.ndjson.gz", GOOD),
        ("cut.ndjson.gz", gzip.compress(GOOD * 100)[:-20]),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"cannot read .*{name}"):
        read(path)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(100):
            file.write((GOOD + b"\n") * 200)
    tracemalloc.start()
    number = sum(1 for _ in replay(str(path), Stop(), latest=LATEST, strict=False))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == 20_000
    assert peak < 1_000_000


@pytest.mark.parametrize("name", ["events.ndjson", "events.ndjson.gz"])
@pytest.mark.parametrize("lines", [0, 3, 100_000])
def test_how_many_lines_there_are_is_told_from_the_first_ones(
    tmp_path: Path, name: str, lines: int
) -> None:
    content = b"".join(b'{"number": %d, "x": "%d"}\n' % (n, n * n) for n in range(lines))
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert lines_expected(str(path)) == pytest.approx(lines, rel=0.3)


def test_nobody_knows_how_many_lines_standard_input_has() -> None:
    assert lines_expected("-") is None


def test_a_stop_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes((GOOD + b"\n") * 10)
    stop = Stop()
    records = replay(str(path), stop, latest=LATEST, strict=False)
    next(records)
    stop.request()
    assert list(records) == []
