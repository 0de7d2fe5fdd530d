"""The records of a record batch, decoded into the fields that the pipeline uses.

kafka-python's decoder takes three times as long and decompresses without limit. It reads no record
of a batch with bytes behind a gzip stream, and no record after a header whose name is not UTF-8.
"""

from collections.abc import Iterator

import msgspec
from kafka import TopicPartition
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.legacy_records import LegacyRecordBatch
from kafka.record.util import decode_varint

from clickstream.clients import decompression
from clickstream.clients.unusable_value import UnusableValue

# A batch is decompressed up to this size, which is far above that of any producer's default.
MAX_DECOMPRESSED_BYTES = 64 << 20


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record of a topic. timestamp: milliseconds since 1970; None if it cannot be read."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | UnusableValue | None


def decode(
    header: DefaultRecordBatch, data: bytes, partition: TopicPartition, max_value_bytes: int
) -> Iterator[Record]:
    """Yield the records of a batch of Kafka's format since 0.11. Their headers are not decoded.

    header: that of the batch. data: the bytes after it. Of a value with more than max_value_bytes
    only the beginning is read: it becomes an UnusableValue.
    Raises CorruptRecordError, ValueError or one of decompression.ERRORS when it reaches a record
    that is not complete.
    """
    if header.compression_type:
        data = decompression.decompress(header.compression_type, data, MAX_DECOMPRESSED_BYTES)
    try:
        yield from _decode(header, data, partition, max_value_bytes)
    except IndexError:
        raise CorruptRecordError(
            f"its batch has too few bytes, or more than {MAX_DECOMPRESSED_BYTES} decompressed"
        ) from None


def _decode(
    header: DefaultRecordBatch, data: bytes, partition: TopicPartition, max_value_bytes: int
) -> Iterator[Record]:
    """Yield the records in decompressed data. Raises IndexError if it ends before the last one."""
    topic, number = partition
    base_offset, first_timestamp = header.base_offset, header.first_timestamp
    append_time = header.max_timestamp if header.timestamp_type == header.LOG_APPEND_TIME else None
    last_offset = header.last_offset
    offset = base_offset - 1
    end = 0
    for _ in range(header.records_count):
        size, position = _number(data, end)
        end = position + size
        time_delta, position = _number(data, position + 1)  # after the attributes
        offset_delta, position = _number(data, position)
        size, position = _number(data, position)
        key: bytes | None = None
        if size >= 0:
            key = data[position : position + size]
            position += size
        size, position = _number(data, position)
        value: bytes | UnusableValue | None = None
        if size > max_value_bytes:
            value = _too_large(data[position : position + max_value_bytes], size, max_value_bytes)
        elif size >= 0:
            value = data[position : position + size]
        if size > 0:
            position += size
        is_cut = size > max_value_bytes and end > len(data)
        if not is_cut and _after_headers(data, position) != end:
            raise ValueError("the length of a record is wrong")
        # Kafka does not check the offsets that a producer writes into an uncompressed batch.
        if not offset < base_offset + offset_delta <= last_offset:
            raise ValueError("the offset of a record is wrong")
        offset = base_offset + offset_delta
        timestamp = first_timestamp + time_delta if append_time is None else append_time
        yield Record(topic, number, offset, timestamp, key, value)


def _number(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it.

    Nearly all numbers take one byte or two, for which kafka-python needs twice the time.
    """
    first = data[position]
    if first < 0x80:
        return (first >> 1) ^ -(first & 1), position + 1
    second = data[position + 1]
    if second < 0x80:
        bits = second << 7 | first & 0x7F
        return (bits >> 1) ^ -(bits & 1), position + 2
    return decode_varint(data, position)  # type: ignore[no-any-return] # kafka-python has no types


def _too_large(first_bytes: bytes, size: int, limit: int) -> UnusableValue:
    return UnusableValue(
        "value_too_large",
        f"The value has {size} bytes; {limit} are allowed, and the first "
        f"{len(first_bytes)} are kept.",
        first_bytes,
    )


def _after_headers(data: bytes, position: int) -> int:
    """Return the position after the headers of a record, which are not decoded."""
    if data[position] == 0:
        return position + 1
    count, position = _number(data, position)
    for _ in range(2 * count):  # names and values
        size, position = _number(data, position)
        position += max(size, 0)
    return position


def decode_legacy(batch: LegacyRecordBatch, partition: TopicPartition) -> Iterator[Record]:
    """Yield the records of a batch of one of Kafka's formats before 0.11.

    Raises CorruptRecordError, or another error of kafka-python.
    """
    topic, number = partition
    for record in batch:
        yield Record(topic, number, record.offset, record.timestamp, record.key, record.value)
