"""The first requests of Kafka's protocol, for handshakes without a client library.

Message formats: https://kafka.apache.org/protocol.html
"""

import socket
import struct

from kafka.net.sasl import get_sasl_mechanism

from clickstream.errors import RefusedError, UserError
from clickstream.settings import Settings

SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
NO_ERROR, UNSUPPORTED_MECHANISM = 0, 33
CLIENT = b"clickstream"
LARGEST_REPLY = 1 << 20
REFUSED = (
    "the broker refuses KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD; get them again from "
    "the server's operator"
)
TLS_ALERT = 0x15  # first byte of a TLS server's reply to a client that does not use TLS


def greet(connection: socket.socket) -> None:
    """Send an ApiVersions request, which every broker answers without authentication.

    Raises UserError if the server is not Kafka, OSError if there is no reply.
    """
    _request(connection, API_VERSIONS, 0, b"")


def authenticate(connection: socket.socket, settings: Settings, host: str) -> None:
    """Authenticate by SASL on a connection after `greet`.

    Raises RefusedError if the broker refuses the user, UserError if the settings do not fit the
    port, and OSError if the connection breaks.
    """
    name = settings.kafka_sasl_mechanism
    _negotiate(connection, name)
    mechanism = get_sasl_mechanism(name)(
        host=host,
        sasl_mechanism=name,
        sasl_plain_username=settings.kafka_sasl_username,
        sasl_plain_password=settings.kafka_sasl_password,
    )
    while not mechanism.is_done():
        token = mechanism.auth_bytes()
        reply = _request(connection, SASL_AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
        if _error(reply) != NO_ERROR:
            raise RefusedError(REFUSED)
        _, rest = _split_field(reply[2:], ">h")
        token, _ = _split_field(rest, ">i")
        try:
            mechanism.receive(token)
        except (KeyError, ValueError):  # a SCRAM server may also refuse inside the token
            raise RefusedError(REFUSED) from None


def _negotiate(connection: socket.socket, mechanism: str) -> None:
    """Propose the mechanism. Raises RefusedError if the broker does not support it."""
    reply = _request(connection, SASL_HANDSHAKE, 1, _encode_text(mechanism.encode()))
    if _error(reply) == NO_ERROR:
        return
    offered = _decode_texts(reply[2:])
    if _error(reply) == UNSUPPORTED_MECHANISM and offered and mechanism not in offered:
        raise RefusedError(
            f"the broker does not support KAFKA_SASL_MECHANISM={mechanism}; set it to one of "
            f"{', '.join(offered)}"
        )
    raise RefusedError(
        "the broker accepts no user and password at this port; set KAFKA_SECURITY_PROTOCOL to "
        "PLAINTEXT or SSL, or use the port for SASL"
    )


def _request(connection: socket.socket, api_key: int, version: int, body: bytes) -> bytes:
    """Send one request and return the reply without its correlation id."""
    request = struct.pack(">hhi", api_key, version, 1) + _encode_text(CLIENT) + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    head = _receive(connection, 4)
    (size,) = struct.unpack(">i", head)
    if head[0] == TLS_ALERT:
        raise RefusedError("the port is for TLS; set KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL")
    if not 4 <= size <= LARGEST_REPLY:
        raise UserError("the server there is not Kafka; check KAFKA_BOOTSTRAP_SERVERS")
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


def _encode_text(value: bytes) -> bytes:
    return struct.pack(">h", len(value)) + value


def _decode_texts(data: bytes) -> list[str]:
    """Decode an array of strings."""
    (number,) = struct.unpack(">i", data[:4])
    rest, found = data[4:], []
    for _ in range(number):
        value, rest = _split_field(rest, ">h")
        found.append(value.decode(errors="replace"))
    return found


def _split_field(data: bytes, size_format: str) -> tuple[bytes, bytes]:
    """Split data into a field preceded by its length (-1: absent) and the rest."""
    start = struct.calcsize(size_format)
    end = start + max(0, struct.unpack(size_format, data[:start])[0])
    return data[start:end], data[end:]
