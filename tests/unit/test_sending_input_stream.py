"""Input is read from files and standard input alike; input that cannot be read is named."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clickstream.errors import UserError
from clickstream.sending.input_stream import open_input
from clickstream.signals import Stop

TEXT = "Zoë \N{GRINNING FACE}\n".encode() * 1_000


def read(source: str) -> bytes:
    with open_input(source, Stop()) as stream:
        return b"".join(stream.chunks)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain", TEXT),
        ("with a mark", b"\xef\xbb\xbf" + TEXT),
        ("UTF-16", TEXT.decode().encode("utf-16")),
        ("UTF-16 big endian", b"\xfe\xff" + TEXT.decode().encode("utf-16-be")),
        ("compressed.gz", gzip.compress(TEXT, mtime=0)),
        ("compressed", gzip.compress(TEXT, mtime=0)),
        ("parts.gz", gzip.compress(TEXT[:500], mtime=0) + gzip.compress(TEXT[500:], mtime=0)),
        ("compressed UTF-16.gz", gzip.compress(TEXT.decode().encode("utf-16"), mtime=0)),
    ],
)
def test_text_is_decompressed_and_in_utf8_without_a_mark(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert read(str(path)) == TEXT


@pytest.mark.parametrize("content", [b"", b"\xef", b"\xef\xbb", b"\xff", b"\xff\xff"])
def test_a_part_of_a_byte_order_mark_is_text(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events"
    path.write_bytes(content)
    assert read(str(path)) == content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.ndjson", None),
        ("missing.ndjson.gz", None),
        ("plain.ndjson.gz", TEXT),
        ("cut.ndjson.gz", gzip.compress(TEXT, mtime=0)[:-20]),
        ("odd-utf-16", TEXT.decode().encode("utf-16")[:-1]),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"cannot read .*{name}: .*; check --replay"):
        read(str(path))


PRINT_ALL = """
import sys
from clickstream.sending.input_stream import open_input
from clickstream.signals import Stop
with open_input("-", Stop()) as stream:
    for chunk in stream.chunks:
        sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
"""


def printing() -> "subprocess.Popen[bytes]":
    """Start a process that prints what comes from its standard input."""
    return subprocess.Popen(
        [sys.executable, "-c", PRINT_ALL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize(
    "content", [TEXT, gzip.compress(TEXT, mtime=0), TEXT.decode().encode("utf-16")]
)
def test_standard_input_is_read_like_a_file(content: bytes) -> None:
    with printing() as process:
        assert process.communicate(content, timeout=60)[0] == TEXT


def test_input_from_a_pipe_is_passed_on_at_once() -> None:
    with printing() as process:
        assert process.stdin
        assert process.stdout
        for line in (b"{}\n", b"x", b"second line\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert os.read(process.stdout.fileno(), 100) == line
        process.stdin.close()


def test_closed_standard_input_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="cannot read standard input: it is closed"):
        read("-")


def test_an_error_of_standard_input_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    with open(os.devnull) as file:
        monkeypatch.setattr(sys, "stdin", file)
        os.dup2(folder, file.fileno())
        with pytest.raises(UserError, match="cannot read standard input: Is a directory"):
            read("-")
    os.close(folder)
