"""A folder of its own with a local stack, as a user's clone of the project has one."""

import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

from clickstream.clients.postgres import Connection, connect, only_row
from clickstream.local import stack
from clickstream.local.stack import Status
from clickstream.settings import load
from tests.services.scripts import Script, command, plain_environment


class Clone:
    """A folder in which the stack's commands run."""

    def __init__(self, folder: Path, user: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.folder = folder
        self.stack = folder / ".stack"
        self._options = {"cwd": folder, "env": plain_environment({}), **user}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command("clickstream", "stack", *arguments),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            **self._options,
        )

    def may_run(self) -> bool:
        try:
            return self.run("status").returncode == 1
        except PermissionError:
            return False

    def done(self, *arguments: str) -> str:
        """Run a command that must succeed, and return its output."""
        result = self.run(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def server(self, name: str) -> Status:
        (found,) = (each for each in stack.status(self.stack) if each.server.name == name)
        return found

    def pids(self) -> dict[str, int]:
        return {
            each.server.name: each.process.pid for each in stack.status(self.stack) if each.process
        }

    def start(self, name: str, *arguments: str) -> Script:
        """Start a script in this folder, with the settings of its .env."""
        return Script(command(name, *arguments), {}, self.folder)

    def connect(self) -> Connection:
        settings = load(self.folder / ".env", environment={})
        connection = connect(settings, application="test")
        connection.autocommit = True
        return connection

    def count_events(self) -> int:
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM clickstream_events")
            return int(only_row(cursor)[0])

    def latest_event(self) -> float:
        """Return the time of the latest stored event, in seconds since 1970; 0 without events."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM max(event_time)) FROM clickstream_events")
            return float(only_row(cursor)[0] or 0)

    def store_event(self) -> None:
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO clickstream_events (event_id, event_time, event_type, user_id)"
                " VALUES (gen_random_uuid(), now(), 'click', 'a')"
            )


def is_gone(pid: int) -> bool:
    """Return True if no process has this id, or if it has ended."""
    # In containers whose process 1 does not reap orphans, an ended process stays as a zombie.
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
