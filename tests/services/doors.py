"""Doors in front of the real servers: TLS before one that has none, a password before another."""

import base64
import gzip
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from tests.pki import Pair

BUFFER = 1 << 16
POSTGRES_SSL_REQUEST_BYTES = 8


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


# == HTTP =======================================================================================


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; its body is plain, however it came."""

    method: str
    path: str
    headers: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What the door answers; of the body only so many bytes, and then the connection ends."""

    status: int
    body: bytes = b"{}"
    kind: str = "application/json"
    cut_at: int | None = None


def forward(upstream: tuple[str, int], request: Request) -> Reply:
    """What the server behind the door answers. Raises OSError or HTTPException."""
    kept = ("Content-Type", "Authorization")
    headers = {name: request.headers[name] for name in kept if name in request.headers}
    with closing(http.client.HTTPConnection(*upstream)) as connection:
        connection.request(request.method, request.path, request.body, headers)
        reply = connection.getresponse()
        return Reply(reply.status, reply.read(), reply.headers.get("Content-Type", ""))


@contextmanager
def http_door(answer: Callable[[Request], Reply | None]) -> Iterator[int]:
    """Yield a port of this machine where every request gets this answer.

    None, and a server behind the door that is gone: the connection ends without a word.
    """
    closed = threading.Event()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle(self) -> None:
            with suppress(OSError):  # the client has gone
                super().handle()

        def do_GET(self) -> None:
            request = Request(self.command, self.path, self.headers, _body(self))
            reply = None
            if not closed.is_set():
                with suppress(OSError, http.client.HTTPException):
                    reply = answer(request)
            if reply is None:
                self.close_connection = True
            else:
                self._send(reply)

        do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815 - as http.server wants them

        def _send(self, reply: Reply) -> None:
            self.close_connection |= reply.cut_at is not None
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut_at])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        # So many seconds may pass until it notices that it is to end.
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.server_port
        finally:
            closed.set()
            server.shutdown()


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
        body = b"".join(_chunks(handler))
    else:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    return gzip.decompress(body) if handler.headers.get("Content-Encoding") == "gzip" else body


def _chunks(handler: BaseHTTPRequestHandler) -> Iterator[bytes]:
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        yield handler.rfile.read(size)
        handler.rfile.readline()
    while handler.rfile.readline().strip():  # trailers
        continue


@contextmanager
def password_door(
    upstream: tuple[str, int], user: str, password: str, *, closed: str = ""
) -> Iterator[int]:
    """Yield a port of this machine that passes HTTP requests on to `upstream`.

    Without this user and password it answers 401; where the path has `closed` in it, 403.
    """
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def answer(request: Request) -> Reply:
        if request.headers.get("Authorization") != expected:
            return Reply(401)
        if closed and closed in request.path:
            return Reply(403)
        return forward(upstream, request)

    with http_door(answer) as port:
        yield port


@contextmanager
def rules_door(upstream: tuple[str, int], patterns: Collection[str]) -> Iterator[int]:
    """Yield a port that lets through to OpenSearch what Aiven's rules let through, else 403.

    patterns: the indexes for which the user has the permission `admin`. Of what is not below an
    index's name, a bulk request is let in when all its indexes are; templates are for everybody.
    """

    def answer(request: Request) -> Reply:
        indexes = _indexes(request)
        if indexes is None or not all(
            any(fnmatchcase(name, each) for each in patterns) for name in indexes
        ):
            return Reply(403)
        return forward(upstream, request)

    with http_door(answer) as port:
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
