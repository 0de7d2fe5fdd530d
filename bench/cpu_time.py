"""CPU time of processes, and of the servers if they run on this machine."""

from collections.abc import Collection, Mapping
from contextlib import suppress

import psutil

from clickstream.clients.postgres import Connection
from clickstream.settings import Settings

HOSTS = {"127.0.0.1", "localhost", "::1"}
POSTGRES, BROKER = "PostgreSQL", "broker"


class CpuClock:
    """CPU time since it was created: of given processes, PostgreSQL and the broker.

    connection: to the database that is worked on; its own backend does not count.
    processes: the others, by the name to show; with all their children.
    """

    def __init__(
        self, settings: Settings, connection: Connection, processes: Mapping[str, psutil.Process]
    ) -> None:
        self._connection = connection
        self._processes = processes
        self._postgres = _listener(settings.postgres_host, settings.postgres_port)
        host, _, port = settings.kafka_bootstrap_servers.partition(",")[0].rpartition(":")
        self._kafka = _listener(host, int(port))
        self._begin = self._read()

    def elapsed(self) -> dict[str, float]:
        """Return the seconds since the beginning, by process."""
        end = self._read()
        return {name: seconds - self._begin.get(name, 0.0) for name, seconds in end.items()}

    def _read(self) -> dict[str, float]:
        seconds = {name: tree_seconds(process) for name, process in self._processes.items()}
        if self._postgres:
            own = {self._connection.info.backend_pid}
            seconds[POSTGRES] = tree_seconds(self._postgres, without=own)
        if self._kafka:
            seconds[BROKER] = cpu_seconds(self._kafka)
        return seconds


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process so far, in user and kernel mode, all threads."""
    times = process.cpu_times()
    return times.user + times.system


def tree_seconds(process: psutil.Process, without: Collection[int] = ()) -> float:
    """Return the CPU time of a process and all its children so far, of those that ended, too.

    without: process ids of children that do not count; they must live to the end.
    """
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        if each.pid not in without:
            with suppress(psutil.NoSuchProcess):
                times = each.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def _listener(host: str, port: int) -> psutil.Process | None:
    """Return the process that listens on a port; None if it is elsewhere or may not be seen."""
    if host not in HOSTS:
        return None
    try:
        found = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return None
    pids = {
        each.pid
        for each in found
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid
    }
    return psutil.Process(min(pids)) if pids else None
