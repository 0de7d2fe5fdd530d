"""CPU time of processes: of the servers too, if they run on this machine."""

from collections.abc import Collection

import psutil

from clickstream.settings import Settings

HOSTS = {"127.0.0.1", "localhost", "::1"}


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process so far, in user and kernel mode, all threads."""
    times = process.cpu_times()
    return times.user + times.system


def tree_seconds(process: psutil.Process, without: Collection[int] = ()) -> float:
    """Return the CPU time of a process and its children so far, of those that ended, too.

    without: process ids of children that do not count; they must live to the end.
    """
    times = process.cpu_times()
    ended: float = times.children_user + times.children_system
    living = 0.0
    for child in process.children():
        if child.pid not in without:
            living += cpu_seconds(child)
    return times.user + times.system + ended + living


def kafka_process(settings: Settings) -> psutil.Process | None:
    """Return the process of the broker, or None if it runs on another machine."""
    host, _, port = settings.kafka_bootstrap_servers.partition(",")[0].rpartition(":")
    return _listener(host, int(port))


def postgres_process(settings: Settings) -> psutil.Process | None:
    """Return the first process of PostgreSQL, or None if it runs on another machine."""
    return _listener(settings.postgres_host, settings.postgres_port)


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
