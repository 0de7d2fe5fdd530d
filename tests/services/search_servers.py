"""Search servers for tests; one test at a time uses each, because index names are fixed.

Each worker has a local one (osmem), which loses everything at a restart. All workers of a run share
one real OpenSearch; a test holds a lock while it uses it. The first test that needs it starts it,
and a watchdog kills it after the last worker, however that ended.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from clickstream.clients.opensearch import connect
from clickstream.generated_files import replace_file
from clickstream.local.locks import locked
from clickstream.local.ports import HOST, free_port
from clickstream.settings import Settings
from tests.services import server_scripts
from tests.services.own_server import OwnServer
from tests.services.server_scripts import OPENSEARCH_SCRIPT, START_SECONDS

# Waits for the end of the worker that started it, then of all others, and deletes the server.
WATCHDOG = 'cat >/dev/null; flock "$1" "$2" wipe >/dev/null'
OUR_INDEXES = "clickstream-*"


class SearchServer(Protocol):
    """A search server that a test may stop and start; it keeps its port."""

    environment: dict[str, str]

    def start(self) -> None:
        """Start it if it does not run, and wait until it answers."""

    def stop(self) -> None:
        """Stop it cleanly and wait until it is gone."""

    def kill(self) -> None:
        """Send SIGKILL and wait until it is gone."""

    def wipe(self) -> None:
        """Restart it, or start it, without any index, template or setting."""


# == Local ======================================================================================


class LocalSearch(OwnServer):
    """The search server of a local stack, which keeps everything in memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "opensearch")

    def wipe(self) -> None:
        """Restart it, which deletes everything."""
        self.stop()
        self.start()

    @contextmanager
    def fresh(self) -> Iterator["LocalSearch"]:
        """Yield the server, running and empty."""
        self.wipe()
        yield self


# == Real =======================================================================================


class RealSearch:
    """A real OpenSearch, which keeps its data at a restart."""

    def __init__(self, folder: Path, data: Path) -> None:
        """Describe a server that is not started yet.

        folder: for the locks of this run. data: a folder that the user nobody may enter.
        """
        self.lock = folder / "opensearch.lock"
        self._turn = folder / "opensearch-turn.lock"
        port = _agreed_port(folder / "opensearch-port")
        self.variables = {
            **os.environ,
            "OPENSEARCH_TEST_PORT": str(port),
            "OPENSEARCH_TEST_FOLDER": str(data),
        }
        self.environment = {
            "OPENSEARCH_HOST": HOST,
            "OPENSEARCH_PORT": str(port),
            "OPENSEARCH_USE_SSL": "false",
        }

    def start(self) -> None:
        """Start it if it does not run, and wait until it answers."""
        started = self.ask("start", START_SECONDS)
        assert started.returncode == 0, f"OpenSearch does not start: {started.stderr}"

    def stop(self) -> None:
        """Stop it cleanly and wait until it is gone."""
        self.ask("stop")

    def kill(self) -> None:
        """Send SIGKILL and wait until it is gone."""
        self.ask("kill")

    def wipe(self) -> None:
        """Restart it with an empty data folder."""
        self.ask("wipe")
        self.start()

    def ask(self, verb: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the script that controls it, with one of its verbs."""
        return server_scripts.ask(OPENSEARCH_SCRIPT, verb, self.variables, seconds)

    @contextmanager
    def fresh(self) -> Iterator["RealSearch"]:
        """Yield the server, running and empty, while no other test can use it."""
        with locked(self._turn):
            self.start()
            empty(self.environment, "*")
            yield self


@contextmanager
def shared_real_search(folder: Path, data: Path) -> Iterator[RealSearch]:
    """Yield the real server of this run; after the last worker it and its data are deleted."""
    server = RealSearch(folder, data)
    watchdog = subprocess.Popen(
        ["bash", "-c", WATCHDOG, "watchdog", str(server.lock), str(OPENSEARCH_SCRIPT)],
        env=server.variables,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the tests, not for the watchdog
    )
    try:
        with locked(server.lock, shared=True):
            yield server
    finally:
        watchdog.communicate()


def _agreed_port(file: Path) -> int:
    """Return a free port, which is the same for all workers, by way of this file."""
    with locked(file.with_suffix(".lock")):
        if not file.exists():
            replace_file(file, str(free_port()))
        return int(file.read_text())


def missing() -> str:
    """Return as a sentence what this machine lacks for a real OpenSearch; empty if nothing."""
    return server_scripts.missing(OPENSEARCH_SCRIPT, "OpenSearch")


# == Given by settings ==========================================================================


class GivenSearch:
    """The server of TEST_OPENSEARCH_HOST; what the tests leave there is deleted."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.environment = environment
        self._turn = folder / "given-search.lock"
        self._begun = folder / "given-search-begun"

    @contextmanager
    def fresh(self) -> Iterator["GivenSearch"]:
        """Yield the server without our indexes, while no other test of this run can use it."""
        with locked(self._turn):
            if not self._begun.exists():
                self._refuse_foreign()
                self._begun.touch()
            empty(self.environment, OUR_INDEXES)
            yield self
            empty(self.environment, OUR_INDEXES)

    def _refuse_foreign(self) -> None:
        with closing(connect(Settings.from_mapping(self.environment))) as client:
            found = sorted(client.indices.get(index=OUR_INDEXES))
        assert not found, (
            f"TEST_OPENSEARCH_HOST has indexes that the tests would delete ({', '.join(found)}); "
            "use another server, or delete them"
        )


# == All ========================================================================================


def empty(environment: Mapping[str, str], names: str) -> None:
    """Delete the indexes and index templates of these names (a pattern)."""
    with closing(connect(Settings.from_mapping(environment))) as client:
        # By name, because a server may refuse to delete by a pattern.
        for index in client.indices.get(index=names):
            client.indices.delete(index=index)
        for template in client.indices.get_index_template()["index_templates"]:
            if fnmatchcase(template["name"], names):
                client.indices.delete_index_template(name=template["name"])
