"""A TLS proxy in front of a server that does not speak TLS."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.pki import Pair

BUFFER = 1 << 16
POSTGRES_SSL_REQUEST_BYTES = 8
# A client that is refused has read the reason after this time.
ALERT_SECONDS = 5.0


@contextmanager
def tls_proxy(
    folder: Path,
    upstream: tuple[str, int],
    pair: Pair,
    *,
    client_ca: str = "",
    postgres: bool = False,
) -> Iterator[int]:
    """Yield a local port that accepts TLS and forwards the plain bytes to `upstream`.

    folder: certificate and key are written there.
    pair: certificate and key of the proxy.
    client_ca: PEM of a CA; clients must then show a certificate that it signed.
    postgres: expect PostgreSQL's request for TLS first.
    """
    context = _context(folder, pair, client_ca)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(
            target=_serve, args=(listener, context, upstream, postgres), daemon=True
        ).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _context(folder: Path, pair: Pair, client_ca: str) -> ssl.SSLContext:
    certificate, key = folder / "proxy.crt", folder / "proxy.key"
    certificate.write_text(pair.certificate)
    key.write_text(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.load_verify_locations(cadata=client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _serve(
    listener: socket.socket, context: ssl.SSLContext, upstream: tuple[str, int], postgres: bool
) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(
                target=_forward, args=(client, context, upstream, postgres), daemon=True
            ).start()


def _forward(
    client: socket.socket, context: ssl.SSLContext, upstream: tuple[str, int], postgres: bool
) -> None:
    with suppress(OSError), client:
        if postgres:
            client.recv(POSTGRES_SSL_REQUEST_BYTES)
            client.sendall(b"S")
        with (
            _handshake(client, context) as secured,
            socket.create_connection(upstream) as server,
        ):
            back = threading.Thread(target=_copy, args=(server, secured), daemon=True)
            back.start()
            _copy(secured, server)
            back.join()


def _handshake(client: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return the connection with TLS. Raises OSError after the client has ended it.

    If the proxy ended it first, the client could miss the alert that says why.
    """
    raw = client.dup()
    secured = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
    with raw:
        try:
            secured.do_handshake()
        except OSError:
            with secured, suppress(OSError):
                raw.settimeout(ALERT_SECONDS)
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(BUFFER):
                    continue
            raise
    return secured


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(BUFFER):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
