"""Lines are the bytes between line ends, in bounded memory."""

import tracemalloc
from itertools import repeat

from hypothesis import given
from hypothesis import strategies as st

from clickstream.sending.lines import split_lines
from tests.unit.recordings import in_chunks


def expected(content: bytes, limit: int) -> list[bytes]:
    lines = content.split(b"\n")
    if not lines[-1]:
        del lines[-1]
    return [line[: limit + 1].removesuffix(b"\r") for line in lines]


@given(
    content=st.lists(st.sampled_from((b"a", b"bc", b"\n", b"\r\n", b"\r"))).map(b"".join),
    sizes=st.lists(st.integers(0, 5)),
    limit=st.integers(2, 9),
)
def test_chunks_of_any_size_give_the_same_lines(
    content: bytes, sizes: list[int], limit: int
) -> None:
    assert list(split_lines(in_chunks(content, sizes), limit)) == expected(content, limit)


def test_a_line_of_exactly_the_limit_is_whole_and_a_longer_one_is_cut() -> None:
    lines = list(split_lines([b"12345\n123456\n1234567890\n1\n"], 5))
    assert lines == [b"12345", b"123456", b"123456", b"1"]


def test_an_endless_line_is_read_in_bounded_memory() -> None:
    tracemalloc.start()
    (line,) = split_lines(repeat(b"x" * 10_000, 10_000), 100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(line) == 100_001
    assert peak < 1_000_000
