"""Fault proxy in front of a search server: makes bulk requests fail as networks and servers do.

with search_fault_proxy(search, seed=1) as proxy:
    proxy.faults = Faults(refused=0.2)
    run_script("consumer.py", ..., **proxy.environment)
    assert proxy.counts["refused"]
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.services.http_proxy import Reply, Request, forward, http_proxy

SHARES = ("refused", "unavailable", "cut", "held_back")
BUSY = {"type": "rejected_execution_exception", "reason": "rejected execution of the fault proxy"}
# The reply of a load balancer, which is not JSON.
UNAVAILABLE = Reply(503, b"<html><h1>503 Service Unavailable</h1></html>", "text/html")


@dataclass(frozen=True, slots=True)
class Faults:
    """The share of the bulk requests, from 0 to 1, that gets each fault.

    A request has at most one of the first four faults.
    refused: answered with 429 and not forwarded.
    unavailable: answered with 503 and not forwarded.
    cut: forwarded; the connection ends in the middle of the reply.
    held_back: the connection ends without a reply; only `deliver_late` forwards the request.
    refused_items: a share of the items of forwarded requests; the reply gives 429 for these, in
        their positions, and they are not forwarded. The reply then ignores filter_path.
    delay_seconds: forwarded at once; the reply comes this much later.
    """

    refused: float = 0.0
    unavailable: float = 0.0
    cut: float = 0.0
    held_back: float = 0.0
    refused_items: float = 0.0
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Item:
    """An action of a bulk request.

    action: index or delete. meta: its metadata. lines: its bytes, with the document if it has one.
    """

    action: str
    meta: dict[str, Any]
    lines: bytes

    def refusal(self) -> dict[str, Any]:
        """Return the item of the reply of a server that is too busy."""
        target = {name: self.meta[name] for name in ("_index", "_id") if name in self.meta}
        return {self.action: {**target, "status": 429, "error": BUSY}}


@dataclass(slots=True)
class SearchFaultProxy:
    """A running fault proxy.

    environment: the settings that lead to it. faults: may be changed at any time.
    counts: the number of bulk requests (`bulks`), of those without a fault (`passed`), and of each
    fault by its name; `refused_items` counts items, `delayed` counts replies.
    """

    environment: dict[str, str]
    upstream: tuple[str, int]
    chance: random.Random
    faults: Faults = Faults()
    counts: Counter[str] = field(default_factory=Counter)
    _held: list[Request] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Reply | None:
        """Return the reply for the client; None ends the connection."""
        if not urlsplit(request.path).path.endswith("/_bulk"):
            return forward(self.upstream, request)
        faults = self.faults
        fault = self._begin(faults, request)
        if fault == "held_back":
            return None
        if fault == "refused":
            return Reply(429, json.dumps({"error": BUSY, "status": 429}).encode())
        if fault == "unavailable":
            return UNAVAILABLE
        reply = self._forward_some(request, faults.refused_items)
        if faults.delay_seconds:
            time.sleep(faults.delay_seconds)
            self._count("delayed")
        return replace(reply, cut_at=len(reply.body) // 2) if fault == "cut" else reply

    def deliver_late(self) -> list[dict[str, Any]]:
        """Forward the requests that were held back, in order, and return the server's replies."""
        with self._lock:
            held, self._held = self._held, []
        return [json.loads(forward(self.upstream, request).body) for request in held]

    def _begin(self, faults: Faults, request: Request) -> str:
        """Count the request and choose its fault, or "passed"."""
        weights = [getattr(faults, name) for name in SHARES]
        with self._lock:
            (fault,) = self.chance.choices(["passed", *SHARES], [1 - sum(weights), *weights])
            self.counts.update(["bulks", fault])
            if fault == "held_back":
                self._held.append(request)
        return fault

    def _forward_some(self, request: Request, share: float) -> Reply:
        """Forward a bulk request without a share of its items; the reply gives 429 for these."""
        items = list(bulk_items(request.body)) if share else []
        with self._lock:
            refused = [self.chance.random() < share for _ in items]
        if not any(refused):
            return forward(self.upstream, request)
        kept = b"".join(item.lines for item, no in zip(items, refused, strict=True) if not no)
        whole: dict[str, Any] = {"took": 0, "errors": False, "items": []}
        if kept:
            reply = forward(self.upstream, _unfiltered(request, kept))
            if reply.status != 200:
                return reply
            whole = json.loads(reply.body)
        done = iter(whole["items"])
        whole["items"] = [
            item.refusal() if no else next(done) for item, no in zip(items, refused, strict=True)
        ]
        self._count("refused_items", sum(refused))
        return Reply(200, json.dumps({**whole, "errors": True}).encode())

    def _count(self, name: str, number: int = 1) -> None:
        with self._lock:
            self.counts[name] += number


@contextmanager
def search_fault_proxy(search: Mapping[str, str], seed: int) -> Iterator[SearchFaultProxy]:
    """Run a fault proxy in front of a search server without TLS; at first without faults.

    Requests that are held back at the end are never delivered.
    """
    upstream = (search["OPENSEARCH_HOST"], int(search.get("OPENSEARCH_PORT", "9200")))
    proxy = SearchFaultProxy({}, upstream, random.Random(seed))
    with http_proxy(proxy.answer) as port:
        address = {"OPENSEARCH_HOST": "127.0.0.1", "OPENSEARCH_PORT": str(port)}
        proxy.environment = {**search, **address}
        yield proxy


def bulk_items(body: bytes) -> Iterator[Item]:
    """Yield the actions of a bulk request."""
    lines = iter(body.splitlines(keepends=True))
    for line in lines:
        if line.strip():
            ((action, meta),) = json.loads(line).items()
            yield Item(action, meta, line if action == "delete" else line + next(lines))


def _unfiltered(request: Request, body: bytes) -> Request:
    """Return the request with another body, and without the parameter filter_path."""
    path, query = urlsplit(request.path)[2:4]
    kept = [(name, value) for name, value in parse_qsl(query) if name != "filter_path"]
    return replace(request, path=f"{path}?{urlencode(kept)}", body=body)
