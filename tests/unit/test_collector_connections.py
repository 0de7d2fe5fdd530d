"""The collector's HTTP server: limits for connections and for the time that headers may take."""

import asyncio

import pytest
from starlette.responses import Response
from uvicorn.server import ServerState

from clickstream.collector import http_server

REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"


async def _answers(*requests: bytes) -> list[bytes]:
    """Send each request on a connection of its own, all of them open, and return the status lines.

    That of a connection which is closed without an answer is empty.
    """
    config = http_server.http_server(Response()).config
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: http_server.LimitedProtocol(config, state, {}), "127.0.0.1", 0
    )
    address = server.sockets[0].getsockname()
    async with server, asyncio.timeout(60):
        connections = [await asyncio.open_connection(*address) for _ in requests]
        lines = []
        for (reader, writer), request in zip(connections, requests, strict=True):
            writer.write(request)
            try:
                lines.append(await reader.readline())
            except ConnectionError:
                lines.append(b"")
        for _, writer in connections:
            writer.close()
        return lines


def test_a_client_whose_headers_take_too_long_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.01)
    assert asyncio.run(_answers(REQUEST[:-2])) == [b""]


def test_more_connections_than_the_limit_are_answered_with_503(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 3)
    assert asyncio.run(_answers(REQUEST, REQUEST)) == 2 * [b"HTTP/1.1 200 OK\r\n"]
    lines = asyncio.run(_answers(REQUEST, REQUEST, REQUEST))
    assert lines[0] == b"HTTP/1.1 503 Service Unavailable\r\n"
