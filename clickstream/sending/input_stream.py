"""The bytes of a recorded file or of standard input: decompressed, and in UTF-8."""

import codecs
import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from clickstream.errors import UserError
from clickstream.signals import Stop

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STANDARD_INPUT = "-"
INPUT_CHUNK_BYTES = 1 << 16
CHUNKS_AHEAD = 4
STOP_CHECK_SECONDS = 0.2
# The first byte of gzip data. It is a control character, so no text starts with it.
GZIP_FIRST_BYTE = b"\x1f"
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BYTE_ORDER_MARKS = (codecs.BOM_UTF8, *UTF16_MARKS)


class FormatError(Exception):
    """Raised for an input that is not in its format. The text follows "cannot read FILE: "."""


class InputStream(NamedTuple):
    """An open input. chunks: its text as UTF-8 without a byte order mark, in parts of any size.

    raw: the file as it is on disk; its position shows how much of it has been read.
    """

    chunks: Iterator[bytes]
    raw: io.BufferedReader


@contextmanager
def open_input(source: str, stop: Stop) -> Iterator[InputStream]:
    """Open a file, or standard input if the source is "-". Memory holds a few chunks at a time.

    Gzip is recognised by its content. A stop ends standard input.
    Raises UserError if it cannot be read, also in the middle, or if a FormatError is raised inside.
    """
    try:
        with _open_raw(source, stop) as raw:
            is_gzip = source.endswith(".gz") or raw.peek(1)[:1] == GZIP_FIRST_BYTE
            file = gzip.GzipFile(fileobj=raw) if is_gzip else raw
            yield InputStream(_utf8(iter(partial(file.read1, INPUT_CHUNK_BYTES), b"")), raw)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, FormatError) as error:
        if stop.requested:
            return
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {name_of(source)}: {reason}; check --replay") from None


def name_of(source: str) -> str:
    """Return the name of a source in a message."""
    return "standard input" if source == STANDARD_INPUT else source


def _open_raw(source: str, stop: Stop) -> io.BufferedReader:
    if source != STANDARD_INPUT:
        return Path(source).open("rb")
    return io.BufferedReader(_StandardInput(stop), INPUT_CHUNK_BYTES)


class _StandardInput(io.RawIOBase):
    """Standard input, read by a thread: a read that waits for data would not notice a stop."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._parts: Queue[bytes | OSError] = Queue(CHUNKS_AHEAD)
        self._unread = b""
        Thread(target=self._fill, args=(_standard_input_number(),), daemon=True).start()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        while not self._unread:
            if self._stop.requested:
                return 0
            try:
                part = self._parts.get(timeout=STOP_CHECK_SECONDS)
            except Empty:
                continue
            if isinstance(part, OSError):
                raise part
            if not part:
                self._parts.put(part)  # so that the next call finds the end too
                return 0
            self._unread = part
        target = memoryview(buffer)
        taken = self._unread[: len(target)]
        self._unread = self._unread[len(taken) :]
        target[: len(taken)] = taken
        return len(taken)

    def _fill(self, number: int) -> None:
        try:
            while part := os.read(number, INPUT_CHUNK_BYTES):
                self._parts.put(part)
            self._parts.put(b"")
        except OSError as error:
            self._parts.put(error)


def _standard_input_number() -> int:
    """Return the file descriptor of standard input.

    The thread does not use sys.stdin.buffer: it would hold its lock when the interpreter exits.
    """
    if sys.stdin is None:
        raise OSError("it is closed")
    return sys.stdin.fileno()


def _utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Return the chunks in UTF-8 without a byte order mark, which shows if they are UTF-16."""
    start = next(chunks, b"")
    while _is_part_of_a_mark(start) and (more := next(chunks, b"")):
        start += more
    if start.startswith(UTF16_MARKS):
        texts = codecs.iterdecode(chain([start], chunks), "utf-16", "surrogatepass")
        return (text.encode("utf-8", "surrogatepass") for text in texts)
    return chain([start.removeprefix(codecs.BOM_UTF8)], chunks)


def _is_part_of_a_mark(start: bytes) -> bool:
    return any(mark.startswith(start) and start not in (b"", mark) for mark in BYTE_ORDER_MARKS)
