"""The elements of one JSON array, each as its own text, in bounded memory.

An element keeps the text of its values. A library that returns values, such as ijson, would refuse
NaN and replace lone surrogates, although a consumer reads both.
"""

import json
import re
from collections.abc import Iterator
from itertools import count

from clickstream.sending.input_stream import FormatError

# A string, or blanks between the parts of a value.
_replace_blanks = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")|[ \t\n\r]+').sub
_match_blanks = re.compile(r"[ \t\n\r]*").match


def read_array(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """Yield the elements of an array. An element of several lines is written as one line.

    limit: an element may have at most about this many bytes.
    Raises FormatError if the input is not one array or has an element that cannot be read.
    """
    text = _UnreadText(chunks, limit)
    text.take("[")
    if text.next_character() == "]":
        text.take("]")
    else:
        yield from _elements(text)
    if text.next_character():
        raise FormatError("there is text after the end of its JSON array")


def _elements(text: "_UnreadText") -> Iterator[bytes]:
    """Yield one or more elements, and take the end of the array."""
    for number in count(start=1):
        try:
            element = text.take_value()
            mark = text.take(",]")
        except FormatError as error:
            raise FormatError(f"element {number} of the array: {error}") from None
        yield _in_one_line(element)
        if mark == "]":
            return


def _in_one_line(element: bytes) -> bytes:
    """Return an element without the blanks of an indented file."""
    if b"\n" in element or b"\r" in element:
        return _replace_blanks(rb"\1", element)
    return element


class _UnreadText:
    """The text that has not been taken yet. A byte is a character: JSON's syntax is ASCII."""

    def __init__(self, chunks: Iterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self._text = ""
        self._position = 0
        self._decoder = json.JSONDecoder()

    def next_character(self) -> str:
        """Return the next character that is not a blank; "" at the end."""
        while True:
            blanks = _match_blanks(self._text, self._position)
            self._position = blanks.end() if blanks else 0
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._read_more():
                return ""

    def take(self, expected: str) -> str:
        """Take the next character, which must be one of those expected. Raises FormatError."""
        found = self.next_character()
        if not found:
            raise FormatError("the file ends in the middle")
        if found not in expected:
            raise FormatError(f"{' or '.join(expected)} is missing before {found!r}")
        self._position += 1
        return found

    def take_value(self) -> bytes:
        """Take the text of the next JSON value. Raises FormatError."""
        self.next_character()
        while True:
            try:
                _, end = self._decoder.raw_decode(self._text, self._position)
            except RecursionError:
                raise FormatError("nested too deep") from None
            except json.JSONDecodeError as error:
                if self._read_more():
                    continue
                raise FormatError(f"not JSON: {error.msg}") from None
            # A number at the end of the text may continue in the next chunk.
            if end < len(self._text) or not self._read_more():
                value = self._text[self._position : end]
                self._position = end
                return value.encode("latin-1")

    def _read_more(self) -> bool:
        """Read at least as much as is unread; chunks can be empty. Return False at the end."""
        unread = self._text[self._position :]
        if len(unread) > self._limit:
            raise FormatError(f"not JSON, or longer than {self._limit} bytes")
        parts = [unread]
        size = 0
        for chunk in self._chunks:
            parts.append(chunk.decode("latin-1"))
            size += len(chunk)
            if size >= max(len(unread), 1):
                break
        self._text = "".join(parts)
        self._position = 0
        return size > 0
