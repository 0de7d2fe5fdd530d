"""Record batches are decoded as kafka-python decodes them."""

import gzip
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import lz4.frame
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.codec import snappy_encode
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords
from kafka.record.legacy_records import LegacyRecordBatchBuilder

from clickstream.clients.kafka_private import PartitionRecords
from clickstream.clients.unusable_value import UnusableValue
from tests.unit.record_batches import APPEND_TIME, CONTROL, TRANSACTIONAL, Sent, batch_of

PARTITION = TopicPartition("topic", 3)
MAX_VALUE_BYTES = 1_000
ENCODERS: list[Callable[[bytes], bytes]] = [
    bytes,
    gzip.compress,
    snappy_encode,
    lz4.frame.compress,
    zstandard.ZstdCompressor().compress,
]
# Sizes around those at which a varint gets one more byte.
TEXTS = st.none() | st.binary(max_size=3) | st.integers(62, 66).map(bytes)
RECORDS = st.lists(
    st.builds(
        Sent,
        st.integers(1, 100),
        st.integers(0, 2**41),
        TEXTS,
        TEXTS | st.integers(8_190, 8_193).map(bytes),
        st.lists(st.tuples(st.text(max_size=2), TEXTS), max_size=2),
    ),
    min_size=1,
    max_size=5,
)
ABORT, COMMIT = b"\0\0\0\0", b"\0\0\0\1"


class AbortedTransaction(NamedTuple):
    """An aborted transaction, as a fetch describes it."""

    producer_id: int
    first_offset: int


@dataclass
class Fetched:
    """The answer of a broker to a fetch from offset 0."""

    data: bytes
    aborted: list[AbortedTransaction]


@st.composite
def fetches(draw: st.DrawFn) -> Fetched:
    """Return batches of all kinds, with gaps between offsets and open transactions."""
    fetched = Fetched(b"", [])
    offset = 0
    for _ in range(draw(st.integers(1, 6))):
        offset += draw(st.integers(0, 2))
        kind = draw(st.sampled_from(["records", "records", "transaction", "marker", "legacy"]))
        producer = draw(st.integers(1, 2))
        if kind == "legacy":
            fetched.data += _legacy(offset)
            offset += 1
        elif kind == "marker":
            fetched.data += _marker(offset, producer, draw(st.sampled_from([ABORT, COMMIT])))
            offset += 1
        else:
            in_transaction = kind == "transaction"
            if in_transaction and draw(st.booleans()):
                fetched.aborted.append(AbortedTransaction(producer, offset))
            flags = draw(st.sampled_from([0, APPEND_TIME]))
            batch, offset = _batch(draw, offset, flags, producer if in_transaction else -1)
            fetched.data += batch
    return fetched


def _batch(draw: st.DrawFn, offset: int, flags: int, producer_id: int) -> tuple[bytes, int]:
    """Return a batch, and the offset after it; the last records may have been removed."""
    records, delta = [], -1
    for record in draw(RECORDS):
        delta += record.offset
        records.append(record._replace(offset=delta))
    last_offset = offset + delta + draw(st.integers(0, 2))
    codec = draw(st.sampled_from(range(len(ENCODERS))))
    if producer_id >= 0:
        flags |= TRANSACTIONAL
    batch = batch_of(
        records,
        offset,
        codec=codec,
        compress=ENCODERS[codec],
        attributes=flags,
        producer_id=producer_id,
        last_offset=last_offset,
    )
    return batch, last_offset + 1


def _marker(offset: int, producer_id: int, key: bytes) -> bytes:
    """Return a batch that ends a transaction."""
    sent = [Sent(0, 1_000, key, bytes(6), [])]
    return batch_of(sent, offset, attributes=CONTROL, producer_id=producer_id)


def _legacy(offset: int) -> bytes:
    """Return a batch of Kafka before 0.11."""
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    builder.append(offset, 1_000, b"key", b"value")
    return bytes(builder.build())


def taken(records: Any, number: int) -> list[Any]:
    """Take records in parts; return the fields of each, and the position after each part."""
    found: list[Any] = []
    while records:
        found += [
            (each.topic, each.partition, each.offset, each.timestamp, each.key, each.value)
            for each in records.take(number)
        ]
        found.append((records.next_fetch_offset, records.leader_epoch))
    return found


@given(
    fetches(),
    st.integers(0, 5),
    st.integers(1, 4),
    st.sampled_from([IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED]),
)
def test_records_and_positions_are_those_of_kafka_python(
    fetched: Fetched, first_offset: int, number: int, isolation_level: IsolationLevel
) -> None:
    options = {"isolation_level": isolation_level, "aborted_transactions": fetched.aborted}
    ours = PartitionRecords(
        first_offset,
        PARTITION,
        MemoryRecords(fetched.data),
        failures=Counter(),
        max_value_bytes=1 << 20,
        **options,
    )
    theirs = Fetcher.PartitionRecords(
        first_offset, PARTITION, MemoryRecords(fetched.data), **options
    )
    assert taken(ours, number) == taken(theirs, number)


@given(RECORDS, st.integers(0, 200))
def test_each_offset_of_a_batch_that_is_cut_is_read_once(records: list[Sent], size: int) -> None:
    """Each offset gives a record, or an unreadable record."""
    numbered = [record._replace(offset=n) for n, record in enumerate(records)]
    batch = batch_of(numbered, compress=lambda data: data[:size])
    found = PartitionRecords(
        0, PARTITION, MemoryRecords(batch), failures=Counter(), max_value_bytes=MAX_VALUE_BYTES
    ).take()
    assert [each.offset for each in found] == list(range(len(records)))
    unreadable = [
        each.offset
        for each in found
        if isinstance(each.value, UnusableValue) and each.value.reason == "unreadable"
    ]
    assert unreadable == list(range(len(records) - len(unreadable), len(records)))
