"""Record batches that kafka-python cannot read, and how the consumer reads them."""

import gzip
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from zlib import crc32

import lz4.frame
import pytest
import snappy
import zstandard
from kafka import TopicPartition
from kafka.codec import snappy_encode
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords
from kafka.record.legacy_records import LegacyRecordBatchBuilder

from clickstream.clients import decompression
from clickstream.clients.decompression import GZIP, LZ4, SNAPPY, ZSTD
from clickstream.clients.kafka_private import CHECKSUM_TRIES, PartitionRecords
from clickstream.clients.record_batch import MAX_DECOMPRESSED_BYTES
from clickstream.clients.unusable_value import UnusableValue
from tests.unit.record_batches import CONTROL, TRANSACTIONAL, Sent, batch_of

PARTITION = TopicPartition("topic", 3)
MAX_VALUE_BYTES = 1_000
ABORT_MARKER = b"\0\0\0\0"


class Aborted:
    """An aborted transaction, as a fetch describes it."""

    producer_id = 7
    first_offset = 0


class RawName(str):
    """A header name that is not UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        """Return the bytes that are sent."""
        return b"caf\xe9"


def packed(
    values: Iterable[bytes | None],
    offset: int = 0,
    *,
    key: bytes | None = b"key",
    headers: Iterable[tuple[str, bytes | None]] = (),
    **options: Any,
) -> bytes:
    """Return a record batch with these values at offsets from `offset`."""
    sent = [Sent(n, 1_000 + n, key, value, list(headers)) for n, value in enumerate(values)]
    return batch_of(sent, offset, **options)


def fetched(*batches: bytes, failures: Counter[Any] | None = None, **options: Any) -> Any:
    """Return the records of a fetch, from offset 0, as the consumer holds them."""
    return PartitionRecords(
        0,
        PARTITION,
        MemoryRecords(b"".join(batches)),
        failures=Counter() if failures is None else failures,
        max_value_bytes=MAX_VALUE_BYTES,
        **options,
    )


def values_of(records: Any) -> list[Any]:
    """Return (offset, value) of each record; the reason in place of an unusable value."""
    return [
        (each.offset, each.value.reason if isinstance(each.value, UnusableValue) else each.value)
        for each in records.take()
    ]


AB = [b"a", b"b"]
READ = [(0, b"a"), (1, b"b")]
NEXT = packed([b"next"], 2)
READ_NEXT = (2, b"next")


def test_keys_values_and_timestamps_are_those_that_were_sent() -> None:
    records = fetched(packed([b"a", b"", None], headers=[("name", b"value")]), packed(AB, 3)).take()
    assert [each.value for each in records] == [b"a", b"", None, b"a", b"b"]
    assert [each.offset for each in records] == [0, 1, 2, 3, 4]
    assert [each.timestamp for each in records] == [1_000, 1_001, 1_002, 1_000, 1_001]
    assert {each.key for each in records} == {b"key"}
    (without_key,) = fetched(packed([b"a"], key=None)).take()
    assert without_key.key is None


def test_a_header_name_that_is_not_utf8_is_not_read() -> None:
    records = fetched(packed(AB, headers=[(RawName("x"), b"\xff")]), NEXT)
    assert values_of(records) == [*READ, READ_NEXT]


ENCODERS: list[tuple[int, Callable[[bytes], bytes]]] = [
    (GZIP, gzip.compress),
    (SNAPPY, snappy.compress),
    (SNAPPY, snappy_encode),
    (LZ4, lz4.frame.compress),
    (ZSTD, zstandard.ZstdCompressor().compress),
]


@pytest.mark.parametrize(("codec", "encode"), ENCODERS)
def test_each_codec_is_read(codec: int, encode: Callable[[bytes], bytes]) -> None:
    large = [bytes([n]) * 900 for n in range(200)]
    records = fetched(packed(large, codec=codec, compress=encode), packed([b"next"], 200))
    assert values_of(records) == [*enumerate(large), (200, b"next")]


@pytest.mark.parametrize(
    ("codec", "encode"), [each for each in ENCODERS if each[1] is not snappy.compress]
)
@pytest.mark.parametrize("behind", [b"\0", b"trailing bytes", b"\0" * 20])
def test_bytes_after_the_compressed_data_are_ignored(
    codec: int, encode: Callable[[bytes], bytes], behind: bytes
) -> None:
    batch = packed(AB, codec=codec, compress=lambda data: encode(data) + behind)
    assert values_of(fetched(batch, NEXT)) == [*READ, READ_NEXT]


@pytest.mark.parametrize(
    ("codec", "encode"), [each for each in ENCODERS if each[1] is not snappy.compress]
)
def test_two_compressed_streams_in_one_batch_are_read(
    codec: int, encode: Callable[[bytes], bytes]
) -> None:
    batch = packed(AB, codec=codec, compress=lambda data: encode(data[:3]) + encode(data[3:]))
    assert values_of(fetched(batch, NEXT)) == [*READ, READ_NEXT]


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD, 5, 6, 7])
@pytest.mark.parametrize("data", [b"", b"no codec", b"\x82SNAPPY\0" + b"\xff" * 20])
def test_the_records_of_a_batch_that_cannot_be_decompressed_are_unreadable(
    codec: int, data: bytes
) -> None:
    batch = packed(AB, codec=codec, compress=lambda _: data)
    assert values_of(fetched(batch, NEXT)) == [(0, "unreadable"), (1, "unreadable"), READ_NEXT]


def test_records_before_and_after_a_damaged_record_are_read() -> None:
    def damage(data: bytes) -> bytes:
        return data.replace(b"\x06key\x02b", b"\x7fkey\x02b")

    batch = packed([b"a", b"b", b"c"], compress=damage)
    found = values_of(fetched(batch, packed([b"next"], 3)))
    assert found == [(0, b"a"), (1, "unreadable"), (2, "unreadable"), (3, b"next")]


@pytest.mark.parametrize("wrong", [-(2**31), -1, 0, 3, 2**31])
def test_a_record_with_a_wrong_offset_is_unreadable(wrong: int) -> None:
    sent = [Sent(offset, 1_000, b"key", b"a", []) for offset in (0, wrong, 2)]
    found = values_of(fetched(batch_of(sent, 10, last_offset=12), packed([b"next"], 13)))
    assert found == [(10, b"a"), (11, "unreadable"), (12, "unreadable"), (13, b"next")]


def test_an_unreadable_record_says_its_batch_its_time_and_the_cause() -> None:
    record = fetched(packed(AB, 5, codec=GZIP, compress=lambda _: b"no codec")).take()[0]
    assert "offsets 0 to 6" in record.value.detail
    assert "incorrect header check" in record.value.detail
    assert (record.timestamp, record.value.first_bytes) == (1_001, None)


def test_a_batch_with_a_wrong_checksum_is_fetched_again_and_then_unreadable() -> None:
    damaged = bytearray(packed(AB))
    damaged[-3] ^= 1
    failures: Counter[Any] = Counter()
    for _ in range(CHECKSUM_TRIES - 1):
        records = fetched(bytes(damaged), NEXT, failures=failures)
        with pytest.raises(CorruptRecordError, match=r"partition 3, offset 0: .*checksum"):
            records.take()
        assert not records, "kafka-python fetches again if nothing is left"
    found = values_of(fetched(bytes(damaged), NEXT, failures=failures))
    assert found == [(0, "unreadable"), (1, "unreadable"), READ_NEXT]


def test_records_before_a_batch_with_a_wrong_checksum_are_read_first() -> None:
    damaged = bytearray(packed([b"next"], 2))
    damaged[-3] ^= 1
    records = fetched(packed(AB), bytes(damaged))
    assert values_of(records) == READ
    assert records.next_fetch_offset == 2
    assert not records


def test_a_batch_of_kafka_before_0_11_is_read_or_unreadable() -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    builder.append(0, 1_000, b"key", b"a")
    legacy = bytes(builder.build())
    assert values_of(fetched(legacy)) == [(0, b"a")]
    compressed = bytearray(legacy)
    compressed[17] |= GZIP
    crc = crc32(memoryview(compressed)[16:])
    struct.pack_into(">I", compressed, 12, crc)
    assert values_of(fetched(bytes(compressed), packed([b"b"], 1))) == [
        (0, "unreadable"),
        (1, b"b"),
    ]


def test_the_beginning_and_the_size_of_a_large_value_are_read() -> None:
    limit, above = b"x" * MAX_VALUE_BYTES, b"y" * (MAX_VALUE_BYTES + 1)
    first, second, third = fetched(packed([limit, above, b"c"])).take()
    assert (first.value, third.value) == (limit, b"c")
    assert second.value.reason == "value_too_large"
    assert second.value.first_bytes == above[:-1]
    assert "1001 bytes" in second.value.detail


@pytest.mark.parametrize(
    ("codec", "encode"), [each for each in ENCODERS if each[1] is not snappy.compress]
)
def test_a_batch_is_decompressed_up_to_a_limit(
    codec: int, encode: Callable[[bytes], bytes]
) -> None:
    """Its records are read up to the one that passes the limit, whose size is known."""
    huge = bytes(MAX_DECOMPRESSED_BYTES)
    batch = packed([b"a", huge, b"c"], codec=codec, compress=encode)
    records = fetched(batch, packed([b"next"], 3)).take()
    assert [each.value for each in records[::3]] == [b"a", b"next"]
    assert f"{len(huge)} bytes" in records[1].value.detail
    assert (records[1].value.reason, records[2].value.reason) == ("value_too_large", "unreadable")
    assert f"more than {MAX_DECOMPRESSED_BYTES} decompressed" in records[2].value.detail


def test_a_batch_whose_last_record_passes_the_limit_costs_no_other_record() -> None:
    batch = packed([b"a", bytes(MAX_DECOMPRESSED_BYTES)], codec=GZIP, compress=gzip.compress)
    assert values_of(fetched(batch, NEXT)) == [(0, b"a"), (1, "value_too_large"), READ_NEXT]


def test_bytes_behind_the_records_of_a_batch_are_ignored() -> None:
    batch = packed(AB, compress=lambda data: data + b"behind")
    assert values_of(fetched(batch, NEXT)) == [*READ, READ_NEXT]


def test_a_snappy_block_with_a_huge_declared_size_is_not_decompressed() -> None:
    with pytest.raises(ValueError, match="has 4294967295 bytes decompressed"):
        decompression.decompress(SNAPPY, b"\xff\xff\xff\xff\x0f rest", MAX_DECOMPRESSED_BYTES)


def test_aborted_transactions_are_left_out_and_control_records_too() -> None:
    records = fetched(
        packed([b"aborted"], producer_id=7, attributes=TRANSACTIONAL),
        packed([b"\0\0\0\0\0\0"], 1, key=ABORT_MARKER, producer_id=7, attributes=CONTROL),
        NEXT,
        isolation_level=IsolationLevel.READ_COMMITTED,
        aborted_transactions=[Aborted()],
    )
    assert values_of(records) == [READ_NEXT]


def test_a_transaction_after_an_aborted_one_of_the_same_producer_is_read() -> None:
    records = fetched(
        packed([b"aborted"], producer_id=7, attributes=TRANSACTIONAL),
        packed([b"\0\0\0\0\0\0"], 1, key=ABORT_MARKER, producer_id=7, attributes=CONTROL),
        packed([b"next"], 2, producer_id=7, attributes=TRANSACTIONAL),
        isolation_level=IsolationLevel.READ_COMMITTED,
        aborted_transactions=[Aborted()],
    )
    assert values_of(records) == [READ_NEXT]
