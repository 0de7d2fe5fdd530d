"""The HTTP interface of the collector, as an ASGI application."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from clickstream.collector.client_address import client_address, rate_key
from clickstream.collector.collector_metrics import CollectorMetrics
from clickstream.collector.http_server import COMPLETE_BODY
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
# Of an answer from another origin, a page can read only the headers that are named here.
READABLE = {"Access-Control-Expose-Headers": "Retry-After"}
NOT_ALLOWED = PlainTextResponse("Method Not Allowed", 405, headers={"Allow": "OPTIONS, POST"})
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

    async def collect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with events: 204 if every replica of Kafka has all of them."""
        try:
            answer = await self._answer(scope, receive)
        except asyncio.CancelledError:  # the server stops and does not wait any longer
            answer = _refused(STOPPED, {})
        self.metrics.count_request(answer.status_code)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        request_headers = Headers(scope=scope)
        headers: dict[str, str] = {}
        try:
            headers = self._origins.check(request_headers)
            await self._accept(scope, request_headers, receive)
        except RequestRefused as refusal:
            return _refused(refusal, headers)
        return self._origins.accepted(headers)

    async def _accept(self, scope: Scope, headers: Headers, receive: Receive) -> None:
        """Send the events of a request to Kafka. Raises RequestRefused."""
        peer = scope["client"][0] if scope["client"] else ""
        address = client_address(headers, peer, self._trusted_proxies)
        monotonic = asyncio.get_running_loop().time
        began = monotonic()
        self._check_rate(address, began)
        body = await read_body(
            headers, receive, self._unfinished, is_complete=scope.get(COMPLETE_BODY, False)
        )
        now = self._now()
        added = self._server_fields(headers, address, now)
        records = records_of_body(body, added, self._reading, now)
        self._check_rate(address, began)  # others of this address may have arrived meanwhile
        if self._rate_limit:
            self._rate_limit.take(rate_key(address), len(records), began)
        await self._delivery.deliver(records)
        self.metrics.count_acknowledged(len(records), monotonic() - began)

    def _check_rate(self, address: str, now: float) -> None:
        if self._rate_limit is None:
            return
        if seconds := self._rate_limit.seconds_to_wait(rate_key(address), now):
            raise RequestRefused(429, "too many events from this address", retry_after=seconds)

    def _server_fields(self, headers: Headers, address: str, now: datetime) -> ServerFields:
        """Return the fields that the server adds to the events of a request."""
        always = {"received_at": now.isoformat(timespec="microseconds").replace("+00:00", "Z")}
        if address != UNKNOWN:
            always["ip_address"] = address
        if_absent = {}
        if user_agent := headers.get("user-agent"):
            if_absent["user_agent"] = user_agent
        if self._trusted_proxies and (country := _country(headers)):
            if_absent["country"] = country
        return ServerFields.of(if_absent, always)

    def preflight(self, headers: Headers) -> Response:
        """Return the answer to a browser's preflight request: may a page send JSON?"""
        try:
            return Response(status_code=204, headers=self._origins.preflight(headers))
        except RequestRefused as refusal:
            return _refused(refusal, {})

    async def show_metrics(self, _request: Request) -> Response:
        """Return the metrics for Prometheus."""
        return Response(self.metrics.as_text(), media_type="text/plain; version=0.0.4")

    async def is_alive(self, _request: Request) -> Response:
        """Answer 200, also while Kafka is down."""
        return Response("OK\n", media_type="text/plain", headers=NOT_CACHED)


def build_app(collector: Collector, more_routes: Sequence[Route] = ()) -> ASGIApp:
    """Return the ASGI application of a collector.

    Requests with events bypass Starlette, whose routing would take as long as their events.
    """
    others = Starlette(
        routes=[
            Route("/clickstream.js", show_snippet),
            Route("/livez", collector.is_alive),
            Route("/metrics", collector.show_metrics),
            *more_routes,
        ]
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/collect":
            await others(scope, receive, send)
        elif scope["method"] == "POST":
            await collector.collect(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await collector.preflight(Headers(scope=scope))(scope, receive, send)
        else:
            await NOT_ALLOWED(scope, receive, send)

    return app


def _country(headers: Headers) -> str | None:
    """Return the country that a content delivery network in front of the collector has found."""
    found = (headers.get(name, "").strip().upper() for name in COUNTRY_HEADERS)
    return next((country for country in found if country not in NO_COUNTRY), None)


def _refused(refusal: RequestRefused, headers: dict[str, str]) -> Response:
    content = {"error": refusal.sentence}
    if refusal.now:
        content["now"] = refusal.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    headers = {**NOT_CACHED, **READABLE, **headers}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status in (408, 413, 503):  # the rest of the body is not read
        headers["Connection"] = "close"
    return JSONResponse(content, refusal.status, headers)
