"""The lines of an input, in bounded memory."""

from collections.abc import Iterable, Iterator


def split_lines(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Yield the lines without their ends, LF or CRLF.

    A line of more than `limit` bytes is cut after one byte more, which shows that it was longer.
    """
    unfinished = b""
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        if len(unfinished) <= limit:
            unfinished = (unfinished + first)[: limit + 1]
        if others:
            yield unfinished.removesuffix(b"\r")
            *complete, last = others
            for line in complete:
                yield line[: limit + 1].removesuffix(b"\r")
            unfinished = last[: limit + 1]
    if unfinished:
        yield unfinished.removesuffix(b"\r")
