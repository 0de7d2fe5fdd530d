"""The HTTP server of the collector: uvicorn, with limits for slow clients and large headers."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from clickstream.errors import UserError

HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 32 * 1024
KEEP_ALIVE_SECONDS = 30
# Requests that are being answered take at most 9 s (kafka_delivery).
SHUTDOWN_SECONDS = 8
MAX_CONNECTIONS = 2_000
BACKLOG = 1_024
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class LimitedProtocol(HttpToolsProtocol):
    """HTTP/1.1 on one connection, which is closed if headers take too long or are too large.

    uvicorn has neither limit.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_idle and self._header_timer is None:
            self._expect_headers()
        if self._header_timer is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._header_timer is not None and self._header_bytes > MAX_HEADER_BYTES:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_headers(self) -> None:
        self._header_bytes = 0
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

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
