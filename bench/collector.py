"""Compares the collector with a handler that does nothing, on the same HTTP server.

The load comes from wrk (Debian package wrk). The collector sends to a broker with acks=all; all of
it runs on this machine, in turns. Run from the project's folder: python -m bench.collector
"""

import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.records import records
from bench.servers import servers
from clickstream import cli
from clickstream.collector.http_server import http_server, listening_socket
from clickstream.collector.run import run
from clickstream.errors import UserError
from clickstream.local.ports import HOST, free_port
from clickstream.settings import Settings
from tests.services.waiting import eventually

ROUNDS = 3
SECONDS = 8
CONNECTIONS = 256
BATCHES = (1, 10)
MIB = 1024 * 1024
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[{body}]==]
"""
UNITS = {"us": 0.001, "ms": 1.0, "s": 1_000.0}


class Measured(NamedTuple):
    """Requests per second, the 99th percentile of the answer in milliseconds, and the memory."""

    rate: float
    p99: float
    mib: float


def main() -> int:
    """Print rates, ratios, latencies and memory, and return the exit status."""
    return cli.run(_measure)


def _measure() -> int:
    if shutil.which("wrk") is None:
        raise UserError("this benchmark needs wrk; install it with: apt-get install wrk")
    with servers(("kafka", "postgres")) as settings, tempfile.TemporaryDirectory() as folder:
        print(f"{'events':>6} {'empty':>10} {'collector':>10} {'ratio':>6} {'events/s':>9} "
              f"{'p99 ms':>7} {'MiB':>5}")  # fmt: skip
        for batch in BATCHES:
            script = Path(folder) / f"{batch}.lua"
            script.write_text(SCRIPT.format(body=_body(batch)))
            rounds = [
                (_load(_serve_nothing, script), _load(partial(_collect, settings), script))
                for _ in range(ROUNDS)
            ]
            _print(batch, rounds)
    return cli.DONE


def _body(batch: int) -> str:
    values = [value.decode() for _, value in records(batch, batch)]
    return values[0] if batch == 1 else f"[{','.join(values)}]"


def _print(batch: int, rounds: list[tuple[Measured, Measured]]) -> None:
    for empty, ours in rounds:
        print(
            f"{batch:>6} {empty.rate:>8,.0f}/s {ours.rate:>8,.0f}/s {ours.rate / empty.rate:>6.2f} "
            f"{batch * ours.rate:>9,.0f} {ours.p99:>7.1f} {ours.mib:>5.0f}"
        )
    ratio = median(ours.rate / empty.rate for empty, ours in rounds)
    print(f"{batch:>6} events in a request: median ratio {ratio:.2f}")


async def _answer_nothing(request: Request) -> Response:
    await request.body()
    return Response(status_code=204)


def _serve_nothing(port: int) -> None:
    app = Starlette(routes=[Route("/collect", _answer_nothing, methods=["POST"])])
    with listening_socket(HOST, port) as listener:
        http_server(app).run(sockets=[listener])


def _collect(settings: Settings, port: int) -> None:
    cli.start_logging("text")
    run(settings, HOST, port)


def _load(serve: Callable[[int], None], script: Path) -> Measured:
    """Measure a server under the load of one thread of wrk."""
    with _running(serve) as (port, process):
        url = f"http://{HOST}:{port}/collect"
        line = [
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{SECONDS}s",
            "--latency",
            "-s",
            str(script),
            url,
        ]
        printed = subprocess.run(line, capture_output=True, text=True, check=True).stdout
        memory = process.memory_info().rss / MIB
    if "Non-2xx" in printed:
        raise UserError(f"the server refused requests: {printed}")
    (rate,) = re.findall(r"Requests/sec: +([0-9.]+)", printed)
    ((p99, unit),) = re.findall(r"99% +([0-9.]+)(us|ms|s)", printed)
    return Measured(float(rate), float(p99) * UNITS[unit], memory)


@contextmanager
def _running(serve: Callable[[int], None]) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port()
    process = get_context("fork").Process(target=serve, args=(port,))
    process.start()
    try:
        eventually(lambda: _listens(port))
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


if __name__ == "__main__":
    raise SystemExit(main())
