"""Records that a broker accepts and kafka-python cannot read: they never stop the stream."""

import gzip
import os
from collections.abc import Callable, Iterable
from contextlib import closing

import pytest
from kafka import KafkaProducer
from kafka.codec import gzip_encode, snappy_encode
from kafka.record import default_records

from clickstream.clients.kafka import connection_options
from clickstream.settings import Settings
from tests.services import oracle
from tests.services.databases import Query
from tests.services.records import event, send, value_of
from tests.services.scripts import RunScript

REJECTED = 'SELECT "offset", reason, detail, value FROM rejected_events ORDER BY "offset"'
COUNT_EVENTS = "SELECT count(*) FROM clickstream_events"


class RawName(str):
    """A header name that is not UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        """Return the bytes that are sent."""
        return b"caf\xe9"


def send_batch(
    settings: Settings,
    values: Iterable[bytes | None],
    codec: str | None = None,
    headers: Iterable[tuple[str, bytes]] = (),
) -> None:
    """Send values as one record batch to partition 0."""
    options = {"compression_type": codec, "linger_ms": 1_000, "max_request_size": 1 << 30}
    with closing(KafkaProducer(**options, **connection_options(settings))) as producer:
        for value in values:
            producer.send(
                settings.kafka_topic, value, key=b"key", partition=0, headers=list(headers)
            )
        producer.flush()


def two_events(name: str) -> list[bytes | None]:
    """Return the values of two events of a visitor."""
    return [value_of(event(name, 0)), value_of(event(name, 60))]


def test_a_header_name_that_is_not_utf8_loses_no_event(
    environment: dict[str, str], settings: Settings, run_script: RunScript, query: Query
) -> None:
    send_batch(settings, two_events("header"), headers=[(RawName("x"), b"\xff")])
    send(environment, [event("behind", 0)])
    result = run_script("consumer.py", "--drain")
    assert result.returncode == 0, result.stderr
    assert query(COUNT_EVENTS) == [(3,)]
    oracle.check(environment)


ODD_ENCODERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", lambda data: gzip_encode(data) + b"\0 trailing"),
    ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
    ("snappy", lambda data: snappy_encode(data[:7]) + snappy_encode(data[7:])),
]


@pytest.mark.parametrize(("codec", "encode"), ODD_ENCODERS)
def test_compressed_batches_that_java_reads_lose_no_event(
    codec: str,
    encode: Callable[[bytes], bytes],
    environment: dict[str, str],
    settings: Settings,
    run_script: RunScript,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(default_records, f"{codec}_encode", encode)
        send_batch(settings, two_events("odd"), codec)
    send(environment, [event("behind", 0)])
    result = run_script("consumer.py", "--drain")
    assert result.returncode == 0, result.stderr
    assert query(COUNT_EVENTS) == [(3,)]
    oracle.check(environment)


def test_records_that_cannot_be_decoded_are_rejected_and_those_after_them_stored(
    environment: dict[str, str],
    settings: Settings,
    run_script: RunScript,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "TEST_KAFKA_BOOTSTRAP_SERVERS" in os.environ:
        pytest.skip("Apache Kafka refuses a batch that it cannot decompress")
    with monkeypatch.context() as patch:
        patch.setattr(default_records, "gzip_encode", lambda _: b"no gzip")
        send_batch(settings, two_events("lost"), "gzip")
    send(environment, [event("behind", 0)])
    result = run_script("consumer.py", "--drain")
    assert result.returncode == 0, result.stderr
    assert "rejecting offsets 0 to 1 of partition 0" in result.stderr
    rejected = query(REJECTED)
    assert [(row[0], row[1], row[3]) for row in rejected] == [
        (0, "unreadable", None), (1, "unreadable", None),
    ]  # fmt: skip
    assert "cannot be decoded" in rejected[0][2]
    assert query(COUNT_EVENTS) == [(1,)]
    oracle.check(environment)

    retried = run_script("clickstream", "rejected", "retry")
    assert "2 still rejected" in retried.stdout, retried.stderr
    assert query(REJECTED) == rejected
