"""Fault proxy in front of Kafka, PostgreSQL or OpenSearch: delays, stalls and cuts connections.

with fault_proxy("postgres", environment) as proxy:
    consumer = start_script("consumer.py", **proxy.environment)
    proxy.stall()
"""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random

BUFFER = 1 << 16
# The settings with the address of each server; Kafka has both in one.
ADDRESS_SETTINGS = {
    "kafka": ("KAFKA_BOOTSTRAP_SERVERS", ""),
    "postgres": ("POSTGRES_HOST", "POSTGRES_PORT"),
    "opensearch": ("OPENSEARCH_HOST", "OPENSEARCH_PORT"),
}

Address = tuple[str, int]
Read = Callable[[socket.socket], Iterable[bytes]]


@dataclass(slots=True)
class FaultProxy:
    """A running fault proxy; at first it forwards everything unchanged.

    environment: the settings that lead to it. The others may be changed at any time.
    delay_seconds: everything is forwarded this much later.
    cut_share: share of the pieces, from 0 to 1, in whose middle the connection ends.
    """

    environment: dict[str, str]
    upstream: Address
    read_answers: Read
    chance: Random
    delay_seconds: float = 0.0
    cut_share: float = 0.0
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
            answers = (self.read_answers(server), client, server)
            back = threading.Thread(target=self._copy, args=answers, daemon=True)
            back.start()
            self._copy(_pieces(client), server, client)
            back.join()
            with self._lock:
                self._open -= {client, server}

    def _copy(self, pieces: Iterable[bytes], target: socket.socket, source: socket.socket) -> None:
        with suppress(OSError):
            for data in pieces:
                time.sleep(self.delay_seconds)
                self._passing.wait()
                if self.cut_share and self.chance.random() < self.cut_share:
                    target.sendall(data[: len(data) // 2])
                    break
                target.sendall(data)
        _end(target)
        _end(source)


@contextmanager
def fault_proxy(server: str, environment: Mapping[str, str]) -> Iterator[FaultProxy]:
    """Run a fault proxy in front of a server without TLS, which may be down meanwhile.

    server: "kafka", "postgres" or "opensearch". environment: the settings of the server.
    Kafka's answers name the proxy in place of the broker, which must be the only one.
    """
    host_setting, port_setting = ADDRESS_SETTINGS[server]
    host, _, port = environment[host_setting].partition(":")
    upstream = (host, int(port or environment[port_setting]))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own: Address = listener.getsockname()
        address = {host_setting: own[0], port_setting: str(own[1])}
        read: Read = _pieces
        if server == "kafka":
            address = {host_setting: f"{own[0]}:{own[1]}"}
            read = partial(_kafka_answers, broker=_encoded(upstream), proxy=_encoded(own))
        proxy = FaultProxy({**environment, **address}, upstream, read, Random(1))
        proxy.resume()
        threading.Thread(target=_serve, args=(listener, proxy), daemon=True).start()
        try:
            yield proxy
        finally:
            _end(listener)
            proxy.resume()
            proxy.cut()


def _serve(listener: socket.socket, proxy: FaultProxy) -> None:
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


def _kafka_answers(source: socket.socket, broker: bytes, proxy: bytes) -> Iterator[bytes]:
    """Yield Kafka's answers, with the address of the proxy in place of the broker's."""
    with source.makefile("rb") as stream:
        while size := stream.read(4):
            yield size + stream.read(*struct.unpack(">i", size)).replace(broker, proxy)


def _encoded(address: Address) -> bytes:
    """Return an address as Kafka's answers have it: of equal length for equal hosts."""
    return address[0].encode() + struct.pack(">i", address[1])
