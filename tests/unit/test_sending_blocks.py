"""Records are read in blocks and sent unchanged."""

from collections.abc import Iterator

import pytest

from clickstream.errors import UserError
from clickstream.sending.blocks import BLOCK_BYTES, BLOCK_RECORDS, in_blocks
from clickstream.simulator.event_json import OutgoingRecord


def records(number: int, value: bytes = b"{}") -> Iterator[OutgoingRecord]:
    for due in range(number):
        yield OutgoingRecord(due, b"visitor", value)


@pytest.mark.parametrize("number", [0, 1, BLOCK_RECORDS, BLOCK_RECORDS + 1, 3 * BLOCK_RECORDS])
def test_blocks_keep_all_records_and_their_order(number: int) -> None:
    assert list(in_blocks(records(number))) == list(records(number))


def test_a_block_is_read_before_its_first_record_is_yielded() -> None:
    source = records(10 * BLOCK_RECORDS)
    next(in_blocks(source))
    assert next(source).due == BLOCK_RECORDS


def test_large_records_make_short_blocks() -> None:
    source = records(10, b"x" * (BLOCK_BYTES // 2))
    next(in_blocks(source))
    assert next(source).due == 2


def test_records_before_an_error_of_the_source_are_sent_first() -> None:
    def failing() -> Iterator[OutgoingRecord]:
        yield from records(3)
        raise UserError("line 4 is no event")

    blocks = in_blocks(failing())
    assert [next(blocks).due for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError):
        next(blocks)
