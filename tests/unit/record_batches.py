"""Record batches as brokers send them."""

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.util import calc_crc32c

HEADER_BYTES = DefaultRecordBatch.HEADER_STRUCT.size
# Flags of a batch.
APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x30  # transactional, too


class Sent(NamedTuple):
    """A record to put into a batch. offset: counted from the first offset of the batch."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def batch_of(
    records: Iterable[Sent],
    offset: int = 0,
    *,
    codec: int = 0,
    compress: Callable[[bytes], bytes] = bytes,
    attributes: int = 0,
    producer_id: int = -1,
    last_offset: int | None = None,
) -> bytes:
    """Return a record batch that begins at an offset.

    last_offset: that of the batch, if compaction has removed the last records.
    """
    builder = DefaultRecordBatchBuilder(2, 0, False, producer_id, 0, 0, 1 << 30)
    for record in records:
        builder.append(*record)
    batch = bytearray(builder.build())
    batch[HEADER_BYTES:] = compress(bytes(batch[HEADER_BYTES:]))
    struct.pack_into(">qi", batch, 0, offset, len(batch) - 12)
    flags_at = DefaultRecordBatch.ATTRIBUTES_OFFSET
    struct.pack_into(">h", batch, flags_at, attributes | codec)
    if last_offset is not None:
        struct.pack_into(">i", batch, flags_at + 2, last_offset - offset)
    crc = calc_crc32c(memoryview(batch)[flags_at:])
    struct.pack_into(">I", batch, DefaultRecordBatch.CRC_OFFSET, crc)
    return bytes(batch)
