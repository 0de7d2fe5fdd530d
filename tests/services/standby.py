"""A standby of a test's own PostgreSQL, which lacks the commits after it was made."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from clickstream.clients.postgres import connect
from clickstream.local import postgres_server, processes, server
from clickstream.local.ports import HOST, free_port
from clickstream.settings import Settings
from tests.services.waiting import eventually

ALLOW_REPLICATION = f"host replication all {HOST}/32 scram-sha-256\n"
PROMOTE = "SELECT pg_promote()"


class Standby:
    """A copy of a server, as a standby that is no longer connected to it: read-only at first.

    address: its host and port.
    """

    def __init__(self, stack: Path, primary: Mapping[str, str]) -> None:
        self._server = postgres_server.postgres(stack)
        self._data = self._server.folder / "standby"
        self._environment = primary
        self.address = (HOST, free_port())

    def copy(self) -> None:
        """Copy the primary as it is now."""
        with (self._server.folder / "access.conf").open("a", encoding="ascii") as access:
            access.write(ALLOW_REPLICATION)
        self._run(self._environment, "SELECT pg_reload_conf()")  # effective a moment later
        self._data.mkdir(mode=0o700)
        if account := self._server.account:
            os.chown(self._data, account.uid, account.gid)
        eventually(self._try_to_copy)
        (self._data / "standby.signal").touch()

    def _try_to_copy(self) -> bool:
        program = Path(self._server.command(0)[0]).with_name("pg_basebackup")
        options = processes.run_options(self._server.folder, self._server.account)
        primary = Settings.from_mapping(self._environment)
        options["env"] |= {
            "PGHOST": primary.postgres_host,
            "PGPORT": str(primary.postgres_port),
            "PGUSER": primary.postgres_user,
            "PGPASSWORD": primary.postgres_password,
        }
        line = [str(program), "--pgdata", str(self._data), "--checkpoint", "fast"]
        done = subprocess.run(line, check=False, capture_output=True, text=True, **options)
        assert done.returncode == 0, done.stderr
        return True

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it until the end of the context."""
        port = self.address[1]
        line = self._server.command(port)
        line[line.index("-D") + 1] = str(self._data)
        process = processes.start(
            line, log=self._server.log, folder=self._server.folder, account=self._server.account
        )
        try:
            server.wait_until_ready(self._server, process, port)
            yield
        finally:
            server.stop(self._server, process)

    def promote(self) -> None:
        """Make it a primary, which accepts writes."""
        self._run({**self._environment, "POSTGRES_PORT": str(self.address[1])}, PROMOTE)

    @staticmethod
    def _run(environment: Mapping[str, str], statement: str) -> None:
        settings = Settings.from_mapping(environment)
        with closing(connect(settings, application="test")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
