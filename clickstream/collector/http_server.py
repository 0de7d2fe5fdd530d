"""The HTTP server of the collector: uvicorn, with limits for slow clients and large headers."""

import asyncio
import logging
import signal
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from clickstream.errors import UserError

HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 32 * 1024
# The bytes around each chunk of a chunked body; a chunk may be that small.
CHUNK_FRAME_BYTES = 16
KEEP_ALIVE_SECONDS = 30
# Requests that are being answered take at most 9 s (kafka_delivery).
SHUTDOWN_SECONDS = 8
MAX_CONNECTIONS = 2_000
BACKLOG = 1_024
# The key that a request's scope has if the whole body has arrived.
COMPLETE_BODY = "clickstream.complete_body"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class LimitedProtocol(HttpToolsProtocol):
    """HTTP/1.1 on one connection, which is closed if headers take too long or are too large.

    uvicorn has neither limit.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Bytes of the request that are not its body: headers, frames of chunks, trailers.
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._unanswered: deque[RequestResponseCycle] = deque()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._answer_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_idle and self._header_timer is None:
            self._expect_headers()
        self._header_bytes += len(data)
        super().data_received(data)
        if self._header_bytes > MAX_HEADER_BYTES:
            self._abort()

    def on_message_begin(self) -> None:
        self._header_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()
        while self._unanswered and self._unanswered[0].response_complete:
            self._unanswered.popleft()
        self._unanswered.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._header_bytes = max(0, self._header_bytes - len(body) - CHUNK_FRAME_BYTES)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.scope[COMPLETE_BODY] = True  # type: ignore[literal-required]

    def send_400_response(self, msg: str) -> None:
        self._answer_no_more()
        super().send_400_response(msg)

    def _abort(self) -> None:
        self._answer_no_more()
        self.transport.abort()

    def _answer_no_more(self) -> None:
        """Drop the answers to unfinished requests; writing them would raise RuntimeError."""
        for cycle in self._unanswered:
            cycle.disconnected = True

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_headers(self) -> None:
        self._header_bytes = 0
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._abort)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


class HttpServer(uvicorn.Server):
    """Runs until SIGINT or SIGTERM; a second signal ends the process at once."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals without raising them again, as uvicorn does."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)
        yield

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.should_exit = True
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)


def http_server(app: Any) -> HttpServer:
    """Return a server for an ASGI application."""
    return HttpServer(
        uvicorn.Config(
            app,
            http=LimitedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level=logging.ERROR,  # no line for each request that is refused
            headers=[("X-Content-Type-Options", "nosniff")],
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises UserError if the address cannot be used."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot listen on {host}, port {port} ({reason}); give another address with --host "
            "and --port"
        ) from None
