"""Compares the collector with handlers that do nothing, on the same HTTP server.

All sides get the same requests from wrk (Debian package wrk), in turns, with 256 connections. The
collector sends to a broker with acks=all. The empty handlers read the body and answer 204: one is
the smallest ASGI application, which does less than any framework; the other is a route of
Starlette. wrk, the broker and the server share the cores of this machine.

Run it from the project's folder: python -m bench.collector
"""

import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from starlette.types import ASGIApp, Receive, Scope, Send

from bench import results
from bench.cpu_time import cpu_seconds
from bench.records import records
from bench.servers import running
from clickstream import cli
from clickstream.collector.http_server import http_server, listening_socket
from clickstream.collector.kafka_delivery import ANSWER_SECONDS
from clickstream.collector.run import run
from clickstream.errors import UserError
from clickstream.local.ports import HOST, free_port
from clickstream.settings import Settings
from tests.services.waiting import eventually

ROUNDS = 3
WARM_UP_SECONDS = 1
SECONDS = 3
CONNECTIONS = 256
BATCHES = (1, 10)
MIB = 1024 * 1024
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[{body}]==]
"""
UNITS = {"us": 0.001, "ms": 1.0, "s": 1_000.0}
COLLECTOR, BARE, STARLETTE = "collector", "empty ASGI handler", "empty Starlette handler"
HEADER = (
    "handler", "events in a request", "requests/s", "events/s", "ratio", "CPU us/request",
    "ratio of CPU", "p50 ms", "p99 ms", "MiB",
)  # fmt: skip

Serve = Callable[[int], None]


class Measured(NamedTuple):
    """The figures of one server in one round.

    rate: requests per second. cpu: CPU time of the server, microseconds per request. p50, p99: time
    of the answer, ms.
    """

    rate: float
    cpu: float
    p50: float
    p99: float
    mib: float


def main() -> int:
    """Print rates, ratios, latencies and memory, and return the exit status."""
    return cli.run(_measure)


def _measure() -> int:
    if shutil.which("wrk") is None:
        raise UserError("this benchmark needs wrk; install it with: apt-get install wrk")
    rows: list[list[str]] = []
    with running(("kafka",)) as settings, tempfile.TemporaryDirectory() as folder:
        starlette = Starlette(routes=[Route("/collect", _answer, methods=["POST"])])
        sides = {
            COLLECTOR: partial(_collect, settings),
            BARE: partial(_serve, _answer_nothing),
            STARLETTE: partial(_serve, starlette),
        }
        for batch in BATCHES:
            script = Path(folder) / f"{batch}.lua"
            script.write_text(SCRIPT.format(body=_body(batch)))
            rounds = [
                {name: _load(serve, script) for name, serve in sides.items()} for _ in range(ROUNDS)
            ]
            rows += [_row(batch, name, rounds) for name in sides]
    results.keep("Collector", results.table(HEADER, rows))
    return cli.DONE


def _body(batch: int) -> str:
    values = [value.decode() for _, value in records(batch, batch)]
    return values[0] if batch == 1 else f"[{','.join(values)}]"


def _row(batch: int, name: str, rounds: Sequence[Mapping[str, Measured]]) -> list[str]:
    """Return medians of all rounds; a ratio is that of the collector to this handler."""

    def of(value: Callable[[Measured], float]) -> float:
        return median(value(each[name]) for each in rounds)

    rate = of(lambda each: each.rate)
    ratio = median(each[COLLECTOR].rate / each[name].rate for each in rounds)
    cpu_ratio = median(each[name].cpu / each[COLLECTOR].cpu for each in rounds)
    ratios = ("", "") if name == COLLECTOR else (f"{ratio:.2f}", f"{cpu_ratio:.2f}")
    return [
        name, f"{batch}", f"{rate:,.0f}", f"{batch * rate:,.0f}", ratios[0],
        f"{of(lambda each: each.cpu):.0f}", ratios[1], f"{of(lambda each: each.p50):.0f}",
        f"{of(lambda each: each.p99):.0f}", f"{of(lambda each: each.mib):.0f}",
    ]  # fmt: skip


async def _answer_nothing(_scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _answer(request: Request) -> Response:
    await request.body()
    return Response(status_code=204)


def _serve(app: ASGIApp, port: int) -> None:
    with listening_socket(HOST, port) as listener:
        http_server(app).run(sockets=[listener])


def _collect(settings: Settings, port: int) -> None:
    cli.start_logging("text")
    run(settings, HOST, port)


def _load(serve: Serve, script: Path) -> Measured:
    """Measure a server under the load of one thread of wrk."""
    with _running(serve) as (port, process):
        _send(port, script, WARM_UP_SECONDS)
        before = cpu_seconds(process)
        printed = _send(port, script, SECONDS)
        cpu = cpu_seconds(process) - before
        memory = process.memory_info().rss / MIB
    (rate,) = re.findall(r"Requests/sec: +([0-9.]+)", printed)
    (requests,) = re.findall(r"([0-9]+) requests in", printed)
    p50, p99 = (_milliseconds(printed, percent) for percent in (50, 99))
    return Measured(float(rate), 1e6 * cpu / int(requests), p50, p99, memory)


def _send(port: int, script: Path, seconds: int) -> str:
    """Return what wrk prints. Raises UserError if a request was not accepted."""
    line = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script)]
    line += ["--timeout", f"{ANSWER_SECONDS:.0f}s"]
    line.append(f"http://{HOST}:{port}/collect")
    printed = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in printed:
        raise UserError(f"the server refused requests: {printed}")
    return printed


def _milliseconds(printed: str, percent: int) -> float:
    ((number, unit),) = re.findall(rf"{percent}% +([0-9.]+)(us|ms|s)", printed)
    return float(number) * UNITS[unit]


@contextmanager
def _running(serve: Serve) -> Iterator[tuple[int, psutil.Process]]:
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
