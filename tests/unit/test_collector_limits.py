"""The collector's rate of events for each address, and whose address a request has."""

import asyncio
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from clickstream.collector import librdkafka, rate_limit, request_body
from clickstream.collector.client_address import client_address, rate_key
from clickstream.collector.kafka_delivery import KafkaDelivery
from clickstream.collector.origins import AllowedOrigins
from clickstream.collector.rate_limit import BURST_SECONDS, RateLimit
from clickstream.collector.refused_requests import RequestRefused
from clickstream.model.ip_addresses import UNKNOWN
from clickstream.settings import Settings


def address(forwarded: str | None, trusted_proxies: int, peer: str = "198.51.100.1") -> str:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_address(Headers(headers), peer, trusted_proxies)


@pytest.mark.parametrize(
    ("forwarded", "trusted_proxies", "expected"),
    [
        (None, 0, "198.51.100.1"),
        ("192.0.2.1", 0, "198.51.100.1"),
        ("192.0.2.1", 1, "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", 1, "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1, 10.0.0.1", 2, "192.0.2.1"),
        ("192.0.2.1", 2, "198.51.100.1"),
        (None, 1, "198.51.100.1"),
        ("nonsense", 1, UNKNOWN),
        ("[2001:db8::1]:443", 1, "2001:db8::1"),
    ],
)
def test_only_what_our_own_proxies_appended_is_believed(
    forwarded: str | None, trusted_proxies: int, expected: str
) -> None:
    assert address(forwarded, trusted_proxies) == expected


def test_the_address_of_a_peer_without_one_is_unknown() -> None:
    assert address(None, 0, peer="") == UNKNOWN


def test_a_client_counts_by_its_address_or_by_its_network_of_ipv6() -> None:
    assert rate_key("192.0.2.1") == "192.0.2.1"
    assert (
        rate_key("2001:db8:1:2:3::4") == rate_key("2001:db8:1:2::9") != rate_key("2001:db8:1:3::")
    )


def test_an_address_may_send_a_burst_and_then_at_its_rate() -> None:
    limit = RateLimit(rate=2)
    for _ in range(2 * BURST_SECONDS):
        assert limit.seconds_to_wait("a", 100.0) == 0
        limit.take("a", 1, 100.0)
    assert limit.seconds_to_wait("a", 100.0) == 1
    assert limit.seconds_to_wait("b", 100.0) == 0, "another address has its own limit"
    assert limit.seconds_to_wait("a", 100.5) == 0


def test_a_large_request_delays_the_next_one_and_the_time_to_wait_is_enough() -> None:
    limit = RateLimit(rate=2)
    limit.take("a", 1_000, 0.0)
    seconds = limit.seconds_to_wait("a", 0.0)
    assert limit.seconds_to_wait("a", seconds - 1.0) > 0
    assert limit.seconds_to_wait("a", seconds + 0.001) == 0


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 30)), min_size=1, max_size=60),
    st.floats(0.5, 20),
)
def test_no_address_exceeds_its_rate_by_more_than_a_burst_and_one_request(
    arrivals: list[tuple[float, int]], rate: float
) -> None:
    limit, now, accepted = RateLimit(rate), 0.0, 0
    largest = max(events for _, events in arrivals)
    for delay, events in arrivals:
        now += delay
        if not limit.seconds_to_wait("a", now):
            limit.take("a", events, now)
            accepted += events
        assert accepted <= rate * (now + BURST_SECONDS) + largest + 1e-6


def test_the_memory_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "MAX_ADDRESSES", 2)
    limit = RateLimit(rate=1)
    for name in ("a", "b", "c"):
        limit.take(name, 1_000, 0.0)
    assert [limit.seconds_to_wait(name, 0.0) > 0 for name in ("a", "b", "c")] == [False, True, True]


def test_the_memory_of_unfinished_bodies_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "MAX_UNFINISHED_BYTES", 1_500)
    asyncio.run(_read_beside_a_slow_client())


async def _read_beside_a_slow_client() -> None:
    bodies = request_body.UnfinishedBodies()
    slow = asyncio.create_task(_read(1_000, bodies, is_slow=True))
    await asyncio.sleep(0)
    with pytest.raises(RequestRefused) as refused:
        await _read(1_000, bodies)
    assert refused.value.status == 503
    assert len(await _read(500, bodies)) == 500
    slow.cancel()
    await asyncio.wait([slow])
    assert len(await _read(1_000, bodies)) == 1_000


async def _read(
    size: int, bodies: request_body.UnfinishedBodies, *, is_slow: bool = False
) -> bytes:
    """Read a body of this many bytes; that of a slow client never ends."""
    messages = [{"type": "http.request", "body": b"x" * size, "more_body": is_slow}]

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    headers = Headers({"content-type": "text/plain"})
    return await request_body.read_body(headers, receive, bodies, is_complete=False)


def test_a_page_of_another_origin_is_refused_if_there_is_a_list() -> None:
    allowed = AllowedOrigins(["https://shop.example"])
    assert allowed.check(Headers({"Origin": "https://shop.example"})) == {
        "Access-Control-Allow-Origin": "https://shop.example",
        "Vary": "Origin",
    }
    assert allowed.check(Headers({})) == {}, "not from a browser"
    for origin in ("https://evil.example", "null", "https://shop.example.evil.example"):
        with pytest.raises(RequestRefused, match="COLLECTOR_ORIGINS"):
            allowed.check(Headers({"Origin": origin}))


def test_every_origin_is_allowed_without_a_list() -> None:
    answer = AllowedOrigins(["*"]).preflight(Headers({"Origin": "https://any.example"}))
    assert answer["Access-Control-Allow-Origin"] == "*"


def test_the_memory_of_events_that_kafka_does_not_take_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(librdkafka, "MAX_PENDING_KIB", 2)
    asyncio.run(_deliver_without_a_broker())
    assert "Kafka does not take events (Local: Queue full)" in caplog.text


async def _deliver_without_a_broker() -> None:
    create = partial(
        librdkafka.create_producer,
        Settings.from_mapping({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}),
    )
    delivery = KafkaDelivery(librdkafka.AnsweringProducer(create), "t")
    waiting = asyncio.create_task(delivery.deliver([(b"v", bytes(1_500))]))
    await asyncio.sleep(0)
    with pytest.raises(RequestRefused) as refused:
        await delivery.deliver([(b"v", bytes(1_500))])
    assert refused.value.status == 503
    waiting.cancel()


def test_a_body_that_does_not_arrive_in_time_is_refused_with_408(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.01)
    with pytest.raises(RequestRefused) as refused:
        asyncio.run(_read(1_000, request_body.UnfinishedBodies(), is_slow=True))
    assert refused.value.status == 408
