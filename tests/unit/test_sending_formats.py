"""The same events are read from every format that a recorded file can have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.errors import UserError
from clickstream.sending.formats import JSON_ARRAY, JSON_LINES, detect_format
from clickstream.sending.input_stream import open_input
from clickstream.signals import Stop
from tests.unit.recordings import FORMATS, in_chunks, write

LIMIT = 1 << 20
EVENTS = [
    {"user_id": "a", "event_type": "click", "timestamp": "1735689600", "title": 'x, "y" and z'},
    {"user_id": "b", "event_type": "view", "page_url": "https://shop.example/?q=1;2"},
    {"user_id": "Zoë", "event_type": "search", "search_query": "zwei\nZeilen\tund mehr"},
    {"user_id": "d", "note": "[{not JSON"},
]


def read(path: Path) -> Iterator[Any]:
    """Yield the events of a file, parsed."""
    with open_input(str(path), Stop()) as stream:
        head = next(stream.chunks, b"")
        values = detect_format(head, str(path)).read(iter([head, *stream.chunks]), LIMIT)
        for _, value in values:
            assert len(value.splitlines()) == 1
            yield orjson.loads(value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("crlf", [False, True])
@pytest.mark.parametrize("compressed", ["", ".gz"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_events(
    tmp_path: Path, name: str, compressed: str, crlf: bool, encoding: str
) -> None:
    suffix, text = FORMATS[name]
    path = tmp_path / f"events{suffix}{compressed}"
    write(path, text(EVENTS), crlf=crlf, encoding=encoding)
    assert list(read(path)) == EVENTS


def test_an_indented_element_becomes_one_line_and_keeps_the_text_of_its_values() -> None:
    element = b'{\n\t"a" : [1.50, NaN, 1e400],\r\n  "b \\" c": "x  \\\\",  "d": "\\ud83d  \xff" }'
    array = b"[\n  " + element + b" ,\n 1.0]"
    ((_, first), (_, second)) = JSON_ARRAY.read(iter([array]), LIMIT)
    assert first == b'{"a":[1.50,NaN,1e400],"b \\" c":"x  \\\\","d":"\\ud83d  \xff"}'
    assert second == b"1.0"


@pytest.mark.parametrize("name", FORMATS)
def test_the_content_tells_the_format_without_a_suffix(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "events", FORMATS[name][1](EVENTS))
    assert list(read(path)) == EVENTS


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1)
ROWS = st.dictionaries(st.sampled_from(("user_id", "event_type", "title")), CELLS, min_size=3)


@given(events=st.lists(ROWS, min_size=1), sizes=st.lists(st.integers(0, 40)))
@pytest.mark.parametrize("name", FORMATS)
def test_any_texts_are_the_same_in_every_format_however_they_are_cut_into_chunks(
    name: str, events: list[dict[str, str]], sizes: list[int]
) -> None:
    suffix, text = FORMATS[name]
    content = text(events).encode()
    chunks = iter(in_chunks(content, sizes))
    values = detect_format(content, f"events{suffix}").read(chunks, LIMIT)
    assert [orjson.loads(value) for _, value in values] == events


@pytest.mark.parametrize(
    ("head", "name", "is_array"),
    [
        (b'[{"a": 1}]', "x.json", True),
        (b'[{"a": 1}]', "-", True),
        (b"[\n  {", "x.log", True),
        (b'[{"a": 1},\n{"a": 2}]', "-", True),
        (b'[{"a": 1}]\n\n', "-", True),
        (b'[{"a": 1}]', "x.ndjson", False),
        (b'[{"a": 1}]', "x.jsonl.gz", False),
        (b'[{"a": 1}]\n[{"a": 2}]\n', "-", False),
        (b'{"a": 1}', "x.json", False),
    ],
)
def test_an_array_is_the_whole_file_unless_it_is_a_line_of_json_lines(
    head: bytes, name: str, is_array: bool
) -> None:
    assert detect_format(head, name) is (JSON_ARRAY if is_array else JSON_LINES)


@pytest.mark.parametrize(
    "head",
    [
        b"not json\n",
        b"2026-01-01 12:00:00, something happened\n",
        b'"a JSON string, encoded twice"\n',
        b"a,,b\n",
        b"a,a\n",
        b"",
        b"\x00\x00\x00\x00\x01{}",
        b"\xff\xff\n",
    ],
)
def test_other_content_is_read_as_lines(head: bytes) -> None:
    assert detect_format(head, "-") is JSON_LINES


@pytest.mark.parametrize("text", ["", "[]", " [ ] \n", "user_id,event_type\n"])
def test_a_file_without_events_has_none(tmp_path: Path, text: str) -> None:
    assert list(read(write(tmp_path / "events", text))) == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_can_have_any_of_three_delimiters(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path / "events.csv", f"user_id{delimiter}price\na{delimiter}1\n")
    assert list(read(path)) == [{"user_id": "a", "price": "1"}]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", '[{"a": 1}, {"a"', "element 2 of the array: not JSON"),
        ("x.json", '[{"a": 1}, {"b": 2]', "element 2 of the array: not JSON"),
        ("x.json", '[{"a": 1}', "element 1 of the array: the file ends in the middle"),
        ("x.json", '[{"a": 1} {"a": 2}]', "element 1 of the array: , or ] is missing before '{'"),
        ("x.json", "[1,]", "element 2 of the array: not JSON"),
        ("x.json", "[1] [2]", "there is text after the end of its JSON array"),
        ("x.json", "[" * 100_000, "element 1 of the array: nested too deep"),
        ("x.csv", "a,a\n1,2\n", "the header has the column 'a' twice"),
        ("x.csv", 'a,b\n1,2\n1,"2\n3,4\n', "line 3: unexpected end of data"),
        ("x.csv", 'a,b\n1,"2"3\n', "line 2: ',' expected after '\"'"),
        ("x.csv", "a,b\n1," + "2" * 200_000, "line 2: field larger than field limit"),
    ],
)
def test_content_that_is_not_in_its_format_is_reported_with_its_place(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(UserError) as error:
        list(read(path))
    assert f"cannot read {path}: {message}" in str(error.value)
