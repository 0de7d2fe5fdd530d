"""Bytes of a record in a terminal: shown as text if they are text, else as a hex dump."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.admin.record_bytes import bytes_lines

FRAME = b"\0\0\0\0\7"


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        (b"", [""]),
        (b'{"a": 1}', ['{"a": 1}']),
        (b"{\r\n\t1\n}", ["{", "    1", "}"]),
        ("sök".encode(), ["sök"]),
        ("sök".encode("latin-1"), [r"s\xf6k"]),
        ("\u202e\x9b".encode(), ["\ufffd\ufffd"]),
    ],
)
def test_text_is_shown_as_text_in_its_lines(value: bytes, lines: list[str]) -> None:
    assert bytes_lines(value) == lines


def test_a_schema_registry_frame_is_shown_as_a_hex_dump() -> None:
    assert bytes_lines(FRAME + b'{"event_type"}') == [
        '00000000: 0000 0000 077b 2265 7665 6e74 5f74 7970  .....{"event_typ',
        '00000010: 6522 7d                                  e"}',
    ]


@given(st.binary())
def test_no_byte_controls_the_terminal_and_a_dump_is_67_characters_wide(value: bytes) -> None:
    lines = bytes_lines(value)
    assert all(line.isprintable() for line in lines)
    if value.startswith(b"\0"):
        assert max(map(len, lines)) <= 67
        assert bytes.fromhex("".join(line[10:49] for line in lines)) == value
