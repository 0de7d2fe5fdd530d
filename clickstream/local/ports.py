"""TCP ports of this machine that nobody listens on."""

import secrets
import socket

HOST = "127.0.0.1"
# Below the range that systems give to outgoing connections: a client that tries again and again
# while the server is down would in the end connect to itself and hold the port.
FIRST, LAST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        # As servers do: connections that were closed a moment ago do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """The preferred port where it is free, else another one."""
    port = preferred or _any_port()
    while not is_free(port):
        port = _any_port()
    return port


def _any_port() -> int:
    return FIRST + secrets.randbelow(LAST - FIRST)
