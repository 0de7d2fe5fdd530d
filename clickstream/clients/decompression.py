"""Decompressing Kafka's record batches, up to a limit and as leniently as brokers do.

A broker stores batches that kafka-python refuses: bytes after a gzip stream, or two snappy streams
one after the other. This code stops at the first bytes that it cannot decompress; record_batch.py
notices if a record is missing.
"""

import io
import zlib
from collections.abc import Callable, Iterator

import lz4.frame
import snappy
import zstandard

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
GZIP_WINDOW = 31  # zlib's number for the format of gzip
# snappy-java writes this header, and then blocks with their sizes.
XERIAL_MAGIC = b"\x82SNAPPY\x00"
XERIAL_HEADER_BYTES = 16
CHUNK_BYTES = 1 << 20

ERRORS: tuple[type[Exception], ...] = (
    zlib.error,
    snappy.UncompressError,
    RuntimeError,  # of lz4
    zstandard.ZstdError,
    ValueError,
)


def decompress(codec: int, data: bytes, limit: int) -> bytes:
    """Return the decompressed data, or its first bytes if it has more than `limit`.

    codec: GZIP, SNAPPY, LZ4 or ZSTD. Raises one of ERRORS if nothing can be decompressed.
    """
    if codec not in _DECODERS:
        raise ValueError(f"compression codec {codec} is unknown")
    found = bytearray()
    try:
        for chunk in _DECODERS[codec](data, limit):
            found += chunk
            if len(found) >= limit:
                break
    except ERRORS:
        if not found:
            raise
    return bytes(memoryview(found)[:limit])


def _gunzip(data: bytes, limit: int) -> Iterator[bytes]:
    while data:
        stream = zlib.decompressobj(GZIP_WINDOW)
        yield stream.decompress(data, limit)
        data = stream.unused_data


def _unlz4(data: bytes, limit: int) -> Iterator[bytes]:
    while data:
        stream = lz4.frame.LZ4FrameDecompressor()
        yield stream.decompress(data, max_length=limit)
        data = stream.unused_data or b""


def _unzstd(data: bytes, limit: int) -> Iterator[bytes]:  # noqa: ARG001 - reads in chunks
    with zstandard.ZstdDecompressor().stream_reader(
        io.BytesIO(data), read_across_frames=True
    ) as reader:
        while chunk := reader.read1(CHUNK_BYTES):  # at an error, `read` would lose the chunk
            yield chunk


def _unsnappy(data: bytes, limit: int) -> Iterator[bytes]:
    if not data.startswith(XERIAL_MAGIC):
        yield _unsnappy_block(data, limit)
        return
    position = 0
    while position < len(data):
        if data.startswith(XERIAL_MAGIC, position):
            position += XERIAL_HEADER_BYTES
            continue
        begin = position + 4
        position = begin + int.from_bytes(data[position:begin], "big")
        yield _unsnappy_block(data[begin:position], limit)


def _unsnappy_block(block: bytes, limit: int) -> bytes:
    """Decompress a block, which begins with its decompressed size as a varint."""
    size = 0
    for n, byte in enumerate(block[:5]):
        size |= (byte & 0x7F) << 7 * n
        if byte < 0x80:
            break
    if size > limit:
        raise ValueError(f"it has {size} bytes decompressed; {limit} are allowed")
    decompressed: bytes = snappy.decompress(block)
    return decompressed


_DECODERS: dict[int, Callable[[bytes, int], Iterator[bytes]]] = {
    GZIP: _gunzip,
    SNAPPY: _unsnappy,
    LZ4: _unlz4,
    ZSTD: _unzstd,
}
