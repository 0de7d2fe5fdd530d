"""The body of a request: read with limits of size and time, decompressed."""

import asyncio
import zlib

from starlette.datastructures import Headers
from starlette.types import Receive

from clickstream.collector.refused_requests import RequestRefused

MAX_BODY_BYTES = 1024 * 1024
# A larger body is read up to here, so that its client reads the answer instead of a reset.
MAX_READ_BYTES = 2 * MAX_BODY_BYTES
BODY_SECONDS = 10.0
# Bytes that the collector keeps at most for the unfinished bodies of all clients together.
MAX_UNFINISHED_BYTES = 128 * MAX_BODY_BYTES
RETRY_AFTER_SECONDS = 5
CONTENT_TYPES = ("application/json", "text/plain")  # sendBeacon sends the second one
GZIP = 31  # zlib's code for the frame of gzip


class UnfinishedBodies:
    """The bytes of the bodies that are being read, limited for all requests together."""

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, size: int) -> None:
        """Count more bytes. Raises RequestRefused with status 503 if they are too many."""
        if self._bytes + size > MAX_UNFINISHED_BYTES:
            raise RequestRefused(
                503,
                "too many large requests at once; send the events again",
                retry_after=RETRY_AFTER_SECONDS,
            )
        self._bytes += size

    def remove(self, size: int) -> None:
        """Stop counting the bytes of a request."""
        self._bytes -= size


async def read_body(
    headers: Headers, receive: Receive, unfinished: UnfinishedBodies, *, is_complete: bool
) -> bytes:
    """Return the body of a request, at most MAX_BODY_BYTES after decompression.

    unfinished: counts the bytes until the body is complete. is_complete: True if the next message
    has the whole body, as in most requests, so that no timer is needed. Raises RequestRefused.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in CONTENT_TYPES:
        raise RequestRefused(415, f"send the events as {' or '.join(CONTENT_TYPES)}")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("gzip", "identity"):
        raise RequestRefused(415, "send the body without Content-Encoding, or with gzip")
    body = await (_read_at_once(receive) if is_complete else _read_in_time(receive, unfinished))
    return _decompressed(body) if encoding == "gzip" else body


async def _read_at_once(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _ended_early()
    body: bytes = message["body"]
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


async def _read_in_time(receive: Receive, unfinished: UnfinishedBodies) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(receive, unfinished)
    except TimeoutError:
        raise RequestRefused(408, f"the body did not arrive within {BODY_SECONDS:.0f} s") from None


async def _read(receive: Receive, unfinished: UnfinishedBodies) -> bytes:
    parts: list[bytes] = []
    size = 0
    more = True
    try:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ended_early()
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size > MAX_READ_BYTES:
                raise _too_large()
            if size <= MAX_BODY_BYTES:
                unfinished.add(len(part))
                parts.append(part)
    finally:
        unfinished.remove(sum(map(len, parts)))
    if size > MAX_BODY_BYTES:
        raise _too_large()
    return b"".join(parts)


def _decompressed(body: bytes) -> bytes:
    decompressor = zlib.decompressobj(GZIP)
    try:
        text = decompressor.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise RequestRefused(400, "the body is not gzip data") from None
    if len(text) > MAX_BODY_BYTES:
        raise _too_large()
    if not decompressor.eof or decompressor.unused_data:
        raise RequestRefused(400, "the body is not gzip data of one member, or not all of it")
    return text


def _ended_early() -> RequestRefused:
    return RequestRefused(400, "the connection ended before the body")


def _too_large() -> RequestRefused:
    return RequestRefused(
        413, f"the body has more than {MAX_BODY_BYTES} bytes; send fewer events at once"
    )
