"""Doors in front of the real servers: TLS before one that has none, a password before another."""

import base64
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from tests.pki import Pair

BUFFER = 1 << 16
POSTGRES_SSL_REQUEST_BYTES = 8
LET_IN, UNAUTHORIZED, FORBIDDEN = 0, 401, 403


class Request(NamedTuple):
    """What decides whether an HTTP request is let in."""

    path: str
    body: bytes
    authorization: str


@contextmanager
def tls_door(
    folder: Path,
    upstream: tuple[str, int],
    pair: Pair,
    *,
    client_ca: str = "",
    postgres: bool = False,
) -> Iterator[int]:
    """Yield a port of this machine that speaks TLS and passes everything on to `upstream`.

    pair: its certificate and key. client_ca: whose client certificates it insists on, as PEM.
    postgres: wait for PostgreSQL's wish to speak TLS first.
    """
    how = _context(folder, pair, client_ca)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(
            target=_serve, args=(listener, how, upstream, postgres), daemon=True
        ).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _context(folder: Path, pair: Pair, client_ca: str) -> ssl.SSLContext:
    certificate, key = folder / "door.crt", folder / "door.key"
    certificate.write_text(pair.certificate)
    key.write_text(pair.key)
    how = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    how.load_cert_chain(certificate, key)
    if client_ca:
        how.load_verify_locations(cadata=client_ca)
        how.verify_mode = ssl.CERT_REQUIRED
    return how


def _serve(
    listener: socket.socket, how: ssl.SSLContext, upstream: tuple[str, int], postgres: bool
) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(
                target=_pass_on, args=(client, how, upstream, postgres), daemon=True
            ).start()


def _pass_on(
    client: socket.socket, how: ssl.SSLContext, upstream: tuple[str, int], postgres: bool
) -> None:
    with suppress(OSError), client:
        if postgres:
            client.recv(POSTGRES_SSL_REQUEST_BYTES)
            client.sendall(b"S")
        with (
            how.wrap_socket(client, server_side=True) as secured,
            socket.create_connection(upstream) as server,
        ):
            back = threading.Thread(target=_copy, args=(server, secured), daemon=True)
            back.start()
            _copy(secured, server)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(BUFFER):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def password_door(
    upstream: tuple[str, int], user: str, password: str, *, closed: str = ""
) -> Iterator[int]:
    """Yield a port of this machine that passes HTTP requests on to `upstream`.

    Without this user and password it answers 401; where the path has `closed` in it, 403.
    """
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def refuse(request: Request) -> int:
        if request.authorization != expected:
            return UNAUTHORIZED
        return FORBIDDEN if closed and closed in request.path else LET_IN

    with _http_door(upstream, refuse) as port:
        yield port


@contextmanager
def rules_door(upstream: tuple[str, int], patterns: Collection[str]) -> Iterator[int]:
    """Yield a port that lets through to OpenSearch what Aiven's rules let through, else 403.

    patterns: the indexes for which the user has the permission `admin`. Of what is not below an
    index's name, a bulk request is let in when all its indexes are; templates are for everybody.
    """

    def refuse(request: Request) -> int:
        indexes = _indexes(request)
        if indexes is None:
            return FORBIDDEN
        within = all(any(fnmatchcase(name, each) for each in patterns) for name in indexes)
        return LET_IN if within else FORBIDDEN

    with _http_door(upstream, refuse) as port:
        yield port


def _indexes(request: Request) -> list[str] | None:
    """The indexes and patterns that a request is about; None where rules do not say of whom."""
    first = unquote(request.path.partition("?")[0]).strip("/").partition("/")[0]
    if first in ("", "_index_template"):
        return []
    if first != "_bulk":
        return None if first.startswith("_") else first.split(",")
    lines = iter(request.body.splitlines())
    found = []
    for line in lines:
        ((kind, target),) = json.loads(line).items()
        found.append(target["_index"])
        if kind != "delete":
            next(lines)  # the document
    return found


@contextmanager
def _http_door(upstream: tuple[str, int], refuse: Callable[[Request], int]) -> Iterator[int]:
    """Yield a port that passes on to `upstream` whatever is not refused with a status."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = refuse(Request(self.path, body, self.headers.get("Authorization", "")))
            if status:
                self._answer(status, b"{}")
                return
            connection = http.client.HTTPConnection(*upstream)
            kind = {"Content-Type": "application/json"}
            connection.request(self.command, self.path, body, kind)
            reply = connection.getresponse()
            self._answer(reply.status, reply.read())
            connection.close()

        do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815 - what http.server looks for

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()
