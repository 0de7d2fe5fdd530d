"""Fault proxy before a search server: fails bulk requests as networks and servers do.

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
# As a load balancer answers, who speaks no JSON.
UNAVAILABLE = Reply(503, b"<html><h1>503 Service Unavailable</h1></html>", "text/html")


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to bulk requests: shares from 0 to 1, at most one of the first four to each.

    refused: answered 429 as a whole, and not forwarded.
    unavailable: answered 503, and not forwarded.
    cut: forwarded; the connection ends in the middle of the reply.
    held_back: the connection ends without a reply; forwarded by `deliver_late` only.
    refused_items: of the items of the other requests, and of cut ones; answered 429, each at its
        place, and not forwarded. The reply is then whole, whatever filter_path wants.
    delay_seconds: forwarded at once, answered so much later.
    """

    refused: float = 0.0
    unavailable: float = 0.0
    cut: float = 0.0
    held_back: float = 0.0
    refused_items: float = 0.0
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Item:
    """An action of a bulk request: its name, its metadata, its lines."""

    action: str
    meta: dict[str, Any]
    lines: bytes

    def refusal(self) -> dict[str, Any]:
        """What a server that is too busy says of it."""
        target = {name: self.meta[name] for name in ("_index", "_id") if name in self.meta}
        return {self.action: {**target, "status": 429, "error": BUSY}}


@dataclass(slots=True)
class SearchFaultProxy:
    """The proxy: `faults` may be changed at any time, `environment` has the settings for it.

    counts: how many `bulks` came, how many of them `passed`, and how often each fault happened, by
    its name; `refused_items` counts items, `delayed` replies.
    """

    environment: dict[str, str]
    upstream: tuple[str, int]
    chance: random.Random
    faults: Faults = Faults()
    counts: Counter[str] = field(default_factory=Counter)
    _held: list[Request] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Reply | None:
        """What the client gets; None ends the connection."""
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
        """Forward now, in their order, what was held back; the server's replies."""
        with self._lock:
            held, self._held = self._held, []
        return [json.loads(forward(self.upstream, request).body) for request in held]

    def _begin(self, faults: Faults, request: Request) -> str:
        """Count the request and choose what happens to it."""
        weights = [getattr(faults, name) for name in SHARES]
        with self._lock:
            (fault,) = self.chance.choices(["passed", *SHARES], [1 - sum(weights), *weights])
            self.counts.update(["bulks", fault])
            if fault == "held_back":
                self._held.append(request)
        return fault

    def _forward_some(self, request: Request, share: float) -> Reply:
        """Forward a bulk request without some of its items, which the reply says were refused."""
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
    """Run a fault proxy before the search server of these settings (no TLS); at first no faults.

    What is still held back at the end is never delivered.
    """
    upstream = (search["OPENSEARCH_HOST"], int(search.get("OPENSEARCH_PORT", "9200")))
    proxy = SearchFaultProxy({}, upstream, random.Random(seed))
    with http_proxy(proxy.answer) as port:
        here = {"OPENSEARCH_HOST": "127.0.0.1", "OPENSEARCH_PORT": str(port)}
        proxy.environment = {**search, **here}
        yield proxy


def bulk_items(body: bytes) -> Iterator[Item]:
    """The actions of a bulk request, each with its document where it has one."""
    lines = iter(body.splitlines(keepends=True))
    for line in lines:
        if line.strip():
            ((action, meta),) = json.loads(line).items()
            yield Item(action, meta, line if action == "delete" else line + next(lines))


def _unfiltered(request: Request, body: bytes) -> Request:
    """The request with another body, and with a whole reply."""
    path, query = urlsplit(request.path)[2:4]
    kept = [(name, value) for name, value in parse_qsl(query) if name != "filter_path"]
    return replace(request, path=f"{path}?{urlencode(kept)}", body=body)
