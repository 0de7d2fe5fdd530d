"""A search server that replies success to every bulk request and stores none of the documents.

With it, a benchmark shows how much CPU time the indexer takes when no search server uses the same
cores. It implements only _bulk (JSON without compression, with the parts of the reply that the
indexer asks for), documents by id, indexes and templates. A search finds nothing.
"""

import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

HOST = "127.0.0.1"
ROOT = {
    "name": "null",
    "cluster_name": "null",
    "cluster_uuid": "null",
    "version": {"number": "3.9.0", "distribution": "opensearch"},
}
INDEXED = b'{"index":{"status":201}}'
DELETED = b'{"delete":{"status":200}}'
DELETE_ACTION = b'{"delete"'
SHARDS = {"total": 1, "successful": 1, "failed": 0}
EMPTY_RESULT = {
    "took": 0,
    "timed_out": False,
    "count": 0,
    "_shards": SHARDS,
    "hits": {"total": {"value": 0, "relation": "eq"}, "max_score": None, "hits": []},
}
MISSING = (404, {"error": {"type": "index_not_found_exception", "reason": "none"}, "status": 404})

FLAT_SETTINGS = {"settings": {"index.uuid": "null"}}

Answer = tuple[int, Any]


def bulk(body: bytes) -> bytes:
    """Return the reply that every action succeeded."""
    deletions = body.count(b"\n" + DELETE_ACTION) + body.startswith(DELETE_ACTION)
    items = _items(body) if deletions else [INDEXED] * (body.count(b"\n") // 2)
    return b'{"errors":false,"items":[' + b",".join(items) + b"]}"


def _items(body: bytes) -> list[bytes]:
    items = []
    lines = iter(body.splitlines())
    for line in lines:
        items.append(DELETED if line.startswith(DELETE_ACTION) else INDEXED)
        if items[-1] is INDEXED:
            next(lines)
    return items


class Memory:
    """Documents, indexes and templates that were stored by name, not by a bulk request."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str], Any] = {}
        self._indexes: dict[str, Any] = {}
        self._templates: dict[str, Any] = {}

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Return the status and the JSON for any request but a bulk request."""
        sent = json.loads(body) if body.startswith(b"{") and body.count(b"\n") < 2 else {}
        match [unquote(part) for part in path.strip("/").split("/")]:
            case [""]:
                return 200, ROOT
            case ["_index_template", *name]:
                return self._template(method, "".join(name) or "*", sent)
            case [index, "_doc" | "_create", key]:
                return self._document(method, index, key, sent)
            case [patterns, "_settings", "index.uuid"]:
                return 200, dict.fromkeys(self._matching(patterns), FLAT_SETTINGS)
            case [index] if not index.startswith("_"):
                return self._index(method, index, sent)
            case [*_, "_search" | "_count"]:
                return 200, EMPTY_RESULT
            case [*_, "_refresh" | "_flush"]:
                return 200, {"_shards": SHARDS}
        return 200, {"acknowledged": True}

    def _template(self, method: str, name: str, sent: Any) -> Answer:
        if method == "PUT":
            self._templates[name] = sent
            return 200, {"acknowledged": True}
        found = [
            {"name": each, "index_template": template}
            for each, template in self._templates.items()
            if fnmatchcase(each, name)
        ]
        return (200 if found else 404), {"index_templates": found}

    def _document(self, method: str, index: str, key: str, sent: Any) -> Answer:
        where = {"_index": index, "_id": key, "_version": 1, "_seq_no": 0, "_primary_term": 1}
        if method in {"PUT", "POST"}:
            self._indexes.setdefault(index, {})
            self._documents[index, key] = sent
            return 201, {**where, "result": "created"}
        if (index, key) not in self._documents:
            return 404, {"_index": index, "_id": key, "found": False}
        if method == "DELETE":
            del self._documents[index, key]
            return 200, {**where, "result": "deleted"}
        return 200, {**where, "found": True, "_source": self._documents[index, key]}

    def _index(self, method: str, names: str, sent: Any) -> Answer:
        if method == "PUT":
            self._indexes[names] = sent
            return 200, {"acknowledged": True, "shards_acknowledged": True, "index": names}
        found = self._matching(names)
        if not found and "*" not in names and method != "DELETE":
            return MISSING
        if method == "DELETE":
            self._indexes = {n: body for n, body in self._indexes.items() if n not in found}
            self._documents = {k: v for k, v in self._documents.items() if k[0] not in found}
            return 200, {"acknowledged": True}
        settings = {"settings": {"index": {"uuid": "null"}}, "mappings": {}, "aliases": {}}
        return 200, {name: {**settings, **self._indexes[name]} for name in found}

    def _matching(self, patterns: str) -> list[str]:
        each = patterns.split(",")
        return [name for name in self._indexes if any(fnmatchcase(name, one) for one in each)]


class ClientHandler(socketserver.StreamRequestHandler):
    """A client's connection, open until the client closes it."""

    rbufsize = 1 << 20
    disable_nagle_algorithm = True
    server: "NullServer"

    def handle(self) -> None:
        while line := self.rfile.readline():
            method, target, _ = line.decode("ascii").split()
            body = self.rfile.read(self._length())
            path = urlsplit(target).path
            if path.endswith("/_bulk"):
                self._send(200, bulk(body), method)
            else:
                status, found = self.server.memory.answer(method, path, body)
                self._send(status, json.dumps(found).encode(), method)

    def _length(self) -> int:
        length = 0
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return length

    def _send(self, status: int, body: bytes, method: str) -> None:
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.wfile.write(head.encode() + (b"" if method == "HEAD" else body))


class NullServer(socketserver.ThreadingTCPServer):
    """The server, with a thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), ClientHandler)
        self.memory = Memory()

    def handle_error(self, *_: object) -> None:
        """Ignore clients that disconnect."""


@contextmanager
def null_search() -> Iterator[dict[str, str]]:
    """Run the server in a process of its own, and yield the settings for it."""
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        port = process.stdout.readline().strip()
        try:
            yield {"OPENSEARCH_HOST": HOST, "OPENSEARCH_PORT": port, "OPENSEARCH_USE_SSL": "false"}
        finally:
            process.stdin.close()


def main() -> int:
    """Serve on a free port, print that port, and end when standard input ends."""
    with NullServer() as server:
        print(server.server_address[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        server.shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
