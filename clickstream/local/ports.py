"""Free TCP ports of this machine."""

import secrets
import socket
import time

HOST = "127.0.0.1"
# Below the range of ephemeral ports: a client that retries on an ephemeral port while the server is
# down would sooner or later connect to itself and occupy the port.
FIRST, LAST = 20_000, 32_000
# The threads of a server that was just killed may keep its port this long.
RELEASE_SECONDS = 2.0


def is_free(port: int) -> bool:
    """Return True if a server could listen on this port now."""
    with socket.socket() as probe:
        # Servers set it too: recently closed connections do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """Return the preferred port if it is free or soon becomes free, else another one."""
    port = preferred or _any_port()
    deadline = time.monotonic() + RELEASE_SECONDS
    while not is_free(port):
        if port == preferred and time.monotonic() < deadline:
            time.sleep(0.02)
        else:
            port = _any_port()
    return port


def _any_port() -> int:
    return FIRST + secrets.randbelow(LAST - FIRST)
