"""The HTTP interface of the collector, as an ASGI application."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clickstream.collector.client_address import client_address, rate_key
from clickstream.collector.collector_metrics import CollectorMetrics
from clickstream.collector.kafka_delivery import RETRY_AFTER_SECONDS, KafkaDelivery
from clickstream.collector.origins import AllowedOrigins
from clickstream.collector.rate_limit import RateLimit
from clickstream.collector.refused_requests import RequestRefused
from clickstream.collector.request_body import UnfinishedBodies, read_body
from clickstream.collector.request_events import ServerFields, records_of_body
from clickstream.collector.website_files import show_snippet
from clickstream.model.ip_addresses import UNKNOWN
from clickstream.model.reading import Reading
from clickstream.settings import Settings

# Headers in which a content delivery network names the country of the client.
COUNTRY_HEADERS = ("cf-ipcountry", "cloudfront-viewer-country", "x-vercel-ip-country")
NO_COUNTRY = ("", "XX", "T1")  # unknown, and Cloudflare's code for Tor
NOT_CACHED = {"Cache-Control": "no-store"}
STOPPED = RequestRefused(
    503, "the collector stops; send the events again", retry_after=RETRY_AFTER_SECONDS
)

Clock = Callable[[], datetime]


class Collector:
    """Takes events by POST and answers when Kafka has them.

    now: returns the time, aware UTC.
    """

    def __init__(
        self,
        settings: Settings,
        reading: Reading,
        delivery: KafkaDelivery,
        *,
        now: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self.metrics = CollectorMetrics(lambda: delivery.pending_records)
        self._reading = reading
        self._delivery = delivery
        self._trusted_proxies = settings.trusted_proxies
        self._origins = AllowedOrigins(settings.collector_origins)
        self._rate_limit = RateLimit(settings.collector_rate) if settings.collector_rate else None
        self._unfinished = UnfinishedBodies()
        self._now = now

    async def collect(self, request: Request) -> Response:
        """Answer a request with events: 204 if every replica of Kafka has all of them."""
        try:
            answer = await self._answer(request)
        except asyncio.CancelledError:  # the server stops and waits no longer
            answer = _refused(STOPPED, {})
        self.metrics.requests.labels(answer.status_code).inc()
        return answer

    async def _answer(self, request: Request) -> Response:
        headers: dict[str, str] = {}
        try:
            headers = self._origins.check(request.headers)
            await self._accept(request)
        except RequestRefused as refusal:
            return _refused(refusal, headers)
        return Response(status_code=204, headers={**NOT_CACHED, **headers})

    async def _accept(self, request: Request) -> None:
        """Send the events of a request to Kafka. Raises RequestRefused."""
        peer = request.client.host if request.client else ""
        address = client_address(request.headers, peer, self._trusted_proxies)
        monotonic = asyncio.get_running_loop().time
        began = monotonic()
        self._check_rate(address, began)
        body = await read_body(request, self._unfinished)
        now = self._now()
        added = self._server_fields(request.headers, address, now)
        records = records_of_body(body, added, self._reading, now)
        self._check_rate(address, began)  # others of this address may have arrived meanwhile
        if self._rate_limit:
            self._rate_limit.take(rate_key(address), len(records), began)
        await self._delivery.deliver(records)
        self.metrics.events.inc(len(records))
        self.metrics.acknowledge_seconds.observe(monotonic() - began)

    def _check_rate(self, address: str, now: float) -> None:
        if self._rate_limit is None:
            return
        if seconds := self._rate_limit.seconds_to_wait(rate_key(address), now):
            raise RequestRefused(429, "too many events from this address", retry_after=seconds)

    def _server_fields(self, headers: Headers, address: str, now: datetime) -> ServerFields:
        """Return what the server knows of the events of a request."""
        always = {"received_at": now.isoformat(timespec="microseconds").replace("+00:00", "Z")}
        if address != UNKNOWN:
            always["ip_address"] = address
        if_absent = {}
        if user_agent := headers.get("user-agent"):
            if_absent["user_agent"] = user_agent
        if self._trusted_proxies and (country := _country(headers)):
            if_absent["country"] = country
        return ServerFields(if_absent, always)

    async def preflight(self, request: Request) -> Response:
        """Answer the question of a browser whether a page may send JSON."""
        try:
            return Response(status_code=204, headers=self._origins.preflight(request.headers))
        except RequestRefused as refusal:
            return _refused(refusal, {})

    async def show_metrics(self, _request: Request) -> Response:
        """Return the metrics for Prometheus."""
        return Response(self.metrics.as_text(), media_type="text/plain; version=0.0.4")

    async def is_alive(self, _request: Request) -> Response:
        """Answer 200, also while Kafka is down."""
        return Response("OK\n", media_type="text/plain", headers=NOT_CACHED)


def build_app(collector: Collector, more_routes: Sequence[Route] = ()) -> Starlette:
    """Return the ASGI application of a collector."""
    return Starlette(
        routes=[
            Route("/collect", collector.collect, methods=["POST"]),
            Route("/collect", collector.preflight, methods=["OPTIONS"]),
            Route("/clickstream.js", show_snippet),
            Route("/livez", collector.is_alive),
            Route("/metrics", collector.show_metrics),
            *more_routes,
        ]
    )


def _country(headers: Headers) -> str | None:
    """Return the country that a content delivery network in front has found."""
    found = (headers.get(name, "").strip().upper() for name in COUNTRY_HEADERS)
    return next((country for country in found if country not in NO_COUNTRY), None)


def _refused(refusal: RequestRefused, headers: dict[str, str]) -> Response:
    content = {"error": refusal.sentence}
    if refusal.now:
        content["now"] = refusal.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    headers = {**NOT_CACHED, **headers}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status in (408, 413, 503):  # the rest of the body is not read
        headers["Connection"] = "close"
    return JSONResponse(content, refusal.status, headers)
