"""Exit 0 when the broker at HOST PORT answers a Metadata request with at least one broker."""

import socket
import struct
import sys


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def main(host: str, port: str) -> int:
    client = b"probe"
    request = struct.pack(">hhih", 3, 1, 7, len(client)) + client + struct.pack(">i", 0)
    try:
        with socket.create_connection((host, int(port)), 2) as sock:
            sock.sendall(struct.pack(">i", len(request)) + request)
            reply = read(sock, struct.unpack(">i", read(sock, 4))[0])
    except (OSError, EOFError):
        return 1
    correlation, brokers = struct.unpack(">ii", reply[:8])
    return 0 if correlation == 7 and brokers else 1


raise SystemExit(main(*sys.argv[1:3]))
