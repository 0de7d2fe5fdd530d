"""Fault proxy in front of Kafka, PostgreSQL or OpenSearch: delays, stalls and cuts connections.

with fault_proxy("postgres", environment) as proxy:
    consumer = start_script("consumer.py", **proxy.environment)
    proxy.stall()
"""

import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from kafka.protocol.consumer import FetchResponse, ListOffsetsResponse
from kafka.protocol.metadata import MetadataResponse

BUFFER = 1 << 16
# The settings with the address of each server; Kafka has both in one.
ADDRESS_SETTINGS = {
    "kafka": ("KAFKA_BOOTSTRAP_SERVERS", ""),
    "postgres": ("POSTGRES_HOST", "POSTGRES_PORT"),
    "opensearch": ("OPENSEARCH_HOST", "OPENSEARCH_PORT"),
}
# Kafka's answers that list partitions, by name, each with its field of topics.
KAFKA_ANSWERS = {
    "fetch": (FetchResponse, "responses"),
    "list offsets": (ListOffsetsResponse, "topics"),
    "metadata": (MetadataResponse, "topics"),
}

Address = tuple[str, int]


@dataclass(slots=True)
class FaultProxy:
    """A running fault proxy; at first it forwards everything unchanged.

    environment: the settings that lead to it. upstream: the server; `cut` ends the connections to
    the one before. delay_seconds: everything is forwarded this much later.
    cut_share: share of the pieces, from 0 to 1, in whose middle the connection ends.
    """

    environment: dict[str, str]
    upstream: Address
    own: Address
    delay_seconds: float = 0.0
    cut_share: float = 0.0
    _chance: Random = field(default_factory=lambda: Random(1))
    _passing: threading.Event = field(default_factory=threading.Event)
    _open: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stall(self) -> None:
        """Forward nothing until `resume`; connections stay open, and new ones are accepted."""
        self._passing.clear()

    def resume(self) -> None:
        """Forward what `stall` held back, and everything after it."""
        self._passing.set()

    def cut(self) -> None:
        """End all connections; new ones are accepted."""
        with self._lock:
            for each in self._open:
                _end(each)

    def forward(self, client: socket.socket) -> None:
        """Forward a connection in both directions until one side ends it."""
        with suppress(OSError), client, socket.create_connection(self.upstream) as server:
            with self._lock:
                self._open |= {client, server}
            requests, answers = self.read(client, server)
            back = threading.Thread(target=self._copy, args=(answers, client, server), daemon=True)
            back.start()
            self._copy(requests, server, client)
            back.join()
            with self._lock:
                self._open -= {client, server}

    def read(
        self, client: socket.socket, server: socket.socket
    ) -> tuple[Iterable[bytes], Iterable[bytes]]:
        """Return the pieces that come from the client, and those that come from the server."""
        return _pieces(client), _pieces(server)

    def _copy(self, pieces: Iterable[bytes], target: socket.socket, source: socket.socket) -> None:
        with suppress(OSError):
            for data in pieces:
                time.sleep(self.delay_seconds)
                self._passing.wait()
                if self.cut_share and self._chance.random() < self.cut_share:
                    target.sendall(data[: len(data) // 2])
                    break
                target.sendall(data)
        _end(target)
        _end(source)


@dataclass(slots=True)
class KafkaFaultProxy(FaultProxy):
    """A fault proxy in front of the only broker of a cluster, whose answers then name the proxy.

    lacking: the partitions that are left out of answers, by the answer's name in KAFKA_ANSWERS.
    """

    lacking: dict[str, int] = field(default_factory=dict)

    def read(
        self, client: socket.socket, server: socket.socket
    ) -> tuple[Iterable[bytes], Iterable[bytes]]:
        """Return the requests and the answers, each in one piece."""
        kinds: deque[tuple[int, int]] = deque()
        return _requests(client, kinds), self._answers(server, kinds)

    def _answers(self, server: socket.socket, kinds: deque[tuple[int, int]]) -> Iterator[bytes]:
        for answer in _frames(server):
            changed = self._leave_out(answer, *kinds.popleft())
            yield changed.replace(_encoded(self.upstream), _encoded(self.own))

    def _leave_out(self, answer: bytes, api_key: int, version: int) -> bytes:
        for name, partition in self.lacking.items():
            kind, topics = KAFKA_ANSWERS[name]
            if api_key == kind.API_KEY:
                # Behind the length and the correlation id, flexible versions have a tag buffer.
                start = 9 if kind.flexible_version_q(version) else 8
                decoded: Any = kind.decode(answer[start:], version=version)
                decoded._header = None  # noqa: SLF001 - encoding reads it
                for topic in getattr(decoded, topics):
                    topic.partitions = [
                        each for each in topic.partitions if each.partition_index != partition
                    ]
                body = answer[4:start] + bytes(decoded.encode(version=version))
                return struct.pack(">i", len(body)) + body
        return answer


@contextmanager
def fault_proxy(server: str, environment: Mapping[str, str]) -> Iterator[FaultProxy]:
    """Run a fault proxy in front of a server without TLS, which may be down meanwhile.

    server: "postgres" or "opensearch". environment: the settings of the server.
    """
    host, port = ADDRESS_SETTINGS[server]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own: Address = listener.getsockname()
        changed = {**environment, host: own[0], port: str(own[1])}
        proxy = FaultProxy(changed, (environment[host], int(environment[port])), own)
        with _serving(listener, proxy):
            yield proxy


@contextmanager
def kafka_fault_proxy(environment: Mapping[str, str]) -> Iterator[KafkaFaultProxy]:
    """Run a fault proxy in front of the broker of these settings."""
    setting = "KAFKA_BOOTSTRAP_SERVERS"
    host, _, port = environment[setting].partition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own: Address = listener.getsockname()
        changed = {**environment, setting: f"{own[0]}:{own[1]}"}
        proxy = KafkaFaultProxy(changed, (host, int(port)), own)
        with _serving(listener, proxy):
            yield proxy


@contextmanager
def _serving(listener: socket.socket, proxy: FaultProxy) -> Iterator[None]:
    proxy.resume()
    threading.Thread(target=_accept, args=(listener, proxy), daemon=True).start()
    try:
        yield
    finally:
        _end(listener)
        proxy.resume()
        proxy.cut()


def _accept(listener: socket.socket, proxy: FaultProxy) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=proxy.forward, args=(client,), daemon=True).start()


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _pieces(source: socket.socket) -> Iterator[bytes]:
    while data := source.recv(BUFFER):
        yield data


def _frames(source: socket.socket) -> Iterator[bytes]:
    """Yield the requests or answers of Kafka's protocol, each with its length before it."""
    with source.makefile("rb") as stream:
        while size := stream.read(4):
            yield size + stream.read(*struct.unpack(">i", size))


def _requests(client: socket.socket, kinds: deque[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the requests, and append the API key and version of each to `kinds`."""
    for request in _frames(client):
        kinds.append(struct.unpack(">hh", request[4:8]))
        yield request


def _encoded(address: Address) -> bytes:
    """Return an address as Kafka's answers have it: of equal length for equal hosts."""
    return address[0].encode() + struct.pack(">i", address[1])
