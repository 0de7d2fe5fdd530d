"""HTTP proxies in front of a search server: any reply, a password, access rules for indexes."""

import base64
import gzip
import http.client
import json
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, with its body decompressed and in one piece."""

    method: str
    path: str
    headers: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply. With `cut_at` the connection ends after this many bytes of the body."""

    status: int
    body: bytes = b"{}"
    kind: str = "application/json"
    cut_at: int | None = None


def forward(upstream: tuple[str, int], request: Request) -> Reply:
    """Send a request to the server and return its reply. Raises OSError or HTTPException."""
    kept = ("Content-Type", "Authorization")
    headers = {name: request.headers[name] for name in kept if name in request.headers}
    with closing(http.client.HTTPConnection(*upstream)) as connection:
        connection.request(request.method, request.path, request.body, headers)
        reply = connection.getresponse()
        return Reply(reply.status, reply.read(), reply.headers.get("Content-Type", ""))


@contextmanager
def http_proxy(answer: Callable[[Request], Reply | None]) -> Iterator[int]:
    """Yield a local port that answers HTTP requests with what `answer` returns.

    The connection is closed without a reply if that is None, or if the server is unreachable.
    """
    closed = threading.Event()

    class Handler(BaseHTTPRequestHandler):
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

        do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815 - the names that http.server calls

        def _send(self, reply: Reply) -> None:
            self.close_connection |= reply.cut_at is not None
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut_at])

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        # 0.05: seconds until it notices the shutdown.
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
def password_proxy(
    upstream: tuple[str, int], user: str, password: str, *, forbidden: str = ""
) -> Iterator[int]:
    """Yield a local port that forwards HTTP requests to `upstream`.

    It answers 401 without this user and password, and 403 if the path contains `forbidden`.
    """
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def answer(request: Request) -> Reply:
        if request.headers.get("Authorization") != expected:
            return Reply(401)
        if forbidden and forbidden in request.path:
            return Reply(403)
        return forward(upstream, request)

    with http_proxy(answer) as port:
        yield port


@contextmanager
def index_rules_proxy(upstream: tuple[str, int], patterns: Collection[str]) -> Iterator[int]:
    """Yield a local port that enforces access rules for indexes as Aiven for OpenSearch does.

    patterns: the indexes for which the user has the permission `admin`. A request for another
    index gets 403, also a bulk request with one such action; templates are open to everybody.
    """

    def answer(request: Request) -> Reply:
        indexes = _indexes(request)
        if indexes is None or not all(
            any(fnmatchcase(name, each) for each in patterns) for name in indexes
        ):
            return Reply(403)
        return forward(upstream, request)

    with http_proxy(answer) as port:
        yield port


def _indexes(request: Request) -> list[str] | None:
    """Return the indexes and patterns that a request names; None if no rule covers the request."""
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
