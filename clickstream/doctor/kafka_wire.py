"""The first words of Kafka's protocol, to hear from the broker itself why it lets nobody in.

A client library retries until its time is up and then tells of a timeout, whatever the cause.
Message formats: https://kafka.apache.org/protocol.html
"""

import socket
import struct

from kafka.net.sasl import get_sasl_mechanism

from clickstream.errors import UserError
from clickstream.settings import Settings

SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
NO_ERROR, UNSUPPORTED_MECHANISM = 0, 33
CLIENT = b"clickstream-doctor"
LARGEST_REPLY = 1 << 20
REFUSED = (
    "the broker refuses KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD; copy them again from the "
    "server's operator"
)
TLS_ALERT = 0x15  # the first byte of what a TLS server says to a client that does not speak it


def greet(connection: socket.socket) -> None:
    """Ask for the versions of the protocol, the one question that every broker answers at once.

    Raises UserError where what answers is not Kafka, OSError where nobody does.
    """
    _ask(connection, API_VERSIONS, 0, b"")


def authenticate(connection: socket.socket, settings: Settings, host: str) -> None:
    """Go through SASL on a connection that was greeted.

    Raises UserError with what the broker has against it, OSError where the connection breaks.
    """
    name = settings.kafka_sasl_mechanism
    _agree(connection, name)
    mechanism = get_sasl_mechanism(name)(
        host=host,
        sasl_mechanism=name,
        sasl_plain_username=settings.kafka_sasl_username,
        sasl_plain_password=settings.kafka_sasl_password,
    )
    while not mechanism.is_done():
        token = mechanism.auth_bytes()
        reply = _ask(connection, SASL_AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
        if _error(reply) != NO_ERROR:
            raise UserError(REFUSED)
        _, rest = _take(reply[2:], ">h")
        token, _ = _take(rest, ">i")
        try:
            mechanism.receive(token)
        except (KeyError, ValueError):  # a SCRAM server may also refuse inside the token
            raise UserError(REFUSED) from None


def _agree(connection: socket.socket, mechanism: str) -> None:
    """Offer the mechanism. Raises UserError where the broker does not take it."""
    reply = _ask(connection, SASL_HANDSHAKE, 1, _text(mechanism.encode()))
    if _error(reply) == NO_ERROR:
        return
    offered = _texts(reply[2:])
    if _error(reply) == UNSUPPORTED_MECHANISM and offered and mechanism not in offered:
        raise UserError(
            f"the broker does not take KAFKA_SASL_MECHANISM={mechanism}, but {', '.join(offered)}"
        )
    raise UserError(
        "the broker takes no user and password at this port; set KAFKA_SECURITY_PROTOCOL to "
        "PLAINTEXT or SSL, or take the port for SASL"
    )


def _ask(connection: socket.socket, api_key: int, version: int, body: bytes) -> bytes:
    """Send one request and return the reply behind its correlation id."""
    request = struct.pack(">hhi", api_key, version, 1) + _text(CLIENT) + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    head = _receive(connection, 4)
    (size,) = struct.unpack(">i", head)
    if head[0] == TLS_ALERT:
        raise UserError("the port is for TLS; set KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL")
    if not 4 <= size <= LARGEST_REPLY:
        raise UserError("what answers there is not Kafka; check KAFKA_BOOTSTRAP_SERVERS")
    return _receive(connection, size)[4:]


def _error(reply: bytes) -> int:
    return int(struct.unpack(">h", reply[:2])[0])


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionResetError("closed by the server")
        received += part
    return received


def _text(value: bytes) -> bytes:
    return struct.pack(">h", len(value)) + value


def _texts(data: bytes) -> list[str]:
    """An array of strings."""
    (number,) = struct.unpack(">i", data[:4])
    rest, found = data[4:], []
    for _ in range(number):
        value, rest = _take(rest, ">h")
        found.append(value.decode(errors="replace"))
    return found


def _take(data: bytes, size_format: str) -> tuple[bytes, bytes]:
    """Bytes preceded by their number (-1: none), and what follows them."""
    start = struct.calcsize(size_format)
    end = start + max(0, struct.unpack(size_format, data[:start])[0])
    return data[start:end], data[end:]
