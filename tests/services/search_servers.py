"""Search servers for tests, each used by one test at a time: names of indexes are fixed.

The local one (osmem) is of one worker, and empty again when it is started again. The real one is
an OpenSearch that all workers of a run share: whoever has it holds a lock. It is started by the
first test that wants it; a guardian kills it after the last worker, however that ended.
"""

import os
import shutil
import subprocess
import sys
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
from tests.services.own_server import OwnServer
from tests.services.scripts import PROJECT

PROGRAM = PROJECT / "tests" / "servers" / "opensearch.sh"
# Waits for the end of its own user and of all others.
GUARD = 'cat >/dev/null; flock "$1" "$2" wipe >/dev/null'
START_SECONDS = 120
INSTALL_SECONDS = 600
OURS = "clickstream-*"


class SearchServer(Protocol):
    """A search server that a test may stop at will; always on its port."""

    environment: dict[str, str]

    def start(self) -> None:
        """Start it again, if it does not run, and wait until it answers."""

    def stop(self) -> None:
        """Stop it cleanly and wait until it is gone."""

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""

    def wipe(self) -> None:
        """Restart it without any index, template or setting, running or not."""


# == The local one ==============================================================================


class LocalSearch(OwnServer):
    """The search server of a stack, which keeps all in memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "opensearch")

    def wipe(self) -> None:
        """Restart it."""
        self.stop()
        self.start()

    @contextmanager
    def fresh(self) -> Iterator["LocalSearch"]:
        """The server, running and empty."""
        self.wipe()
        yield self


# == The real one ===============================================================================


class RealSearch:
    """An OpenSearch; its data outlive a restart."""

    def __init__(self, folder: Path, data: Path) -> None:
        """folder: for locks; data: where nobody's processes may enter, of this run alone."""
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
        """Start it again, if it does not run, and wait until it answers."""
        started = self.ask("start", START_SECONDS)
        assert started.returncode == 0, f"OpenSearch does not start: {started.stderr}"

    def stop(self) -> None:
        """Stop it cleanly and wait until it is gone."""
        self.ask("stop")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.ask("kill")

    def wipe(self) -> None:
        """Restart it on an empty folder."""
        self.ask("wipe")
        self.start()

    def ask(self, verb: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the script that controls it."""
        return subprocess.run(
            [PROGRAM, verb],
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    @contextmanager
    def fresh(self) -> Iterator["RealSearch"]:
        """The server, running and empty, for nobody else as long as this lasts."""
        with locked(self._turn):
            self.start()
            empty(self.environment, "*")
            yield self


@contextmanager
def shared_real_search(folder: Path, data: Path) -> Iterator[RealSearch]:
    """The real server of this run; nothing of it is left when its last user is gone."""
    server = RealSearch(folder, data)
    guardian = subprocess.Popen(
        ["bash", "-c", GUARD, "guardian", str(server.lock), str(PROGRAM)],
        env=server.variables,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the tests, not for the guardian
    )
    try:
        with locked(server.lock, shared=True):
            yield server
    finally:
        guardian.communicate()


def _agreed_port(file: Path) -> int:
    """A free port, the same for everybody who asks with this file."""
    with locked(file.with_suffix(".lock")):
        if not file.exists():
            replace_file(file, str(free_port()))
        return int(file.read_text())


def missing() -> str:
    """What this machine lacks for a real OpenSearch, as a sentence; empty for nothing."""
    if sys.platform != "linux" or not shutil.which("bash"):
        return "a real OpenSearch is only started on Linux, with bash"
    asked = subprocess.run([PROGRAM, "check"], capture_output=True, text=True, check=False)
    return "" if asked.returncode == 0 else f"no real OpenSearch, {asked.stdout.strip()}"


# == One that was given =========================================================================


class GivenSearch:
    """A server by TEST_OPENSEARCH_HOST; what the tests leave there is deleted."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.environment = environment
        self._turn = folder / "given-search.lock"
        self._begun = folder / "given-search-begun"

    @contextmanager
    def fresh(self) -> Iterator["GivenSearch"]:
        """The server without our indexes, for nobody else of this run as long as this lasts."""
        with locked(self._turn):
            if not self._begun.exists():
                self._refuse_foreign()
                self._begun.touch()
            empty(self.environment, OURS)
            yield self
            empty(self.environment, OURS)

    def _refuse_foreign(self) -> None:
        with closing(connect(Settings.from_mapping(self.environment))) as client:
            found = sorted(client.indices.get(index=OURS))
        assert not found, (
            f"TEST_OPENSEARCH_HOST has indexes that the tests would delete ({', '.join(found)}); "
            "give another server, or delete them"
        )


# == Any ========================================================================================


def empty(environment: Mapping[str, str], names: str) -> None:
    """Delete the indexes and index templates of these names (a pattern)."""
    with closing(connect(Settings.from_mapping(environment))) as client:
        # By name: a server may refuse to delete by a pattern.
        for index in client.indices.get(index=names):
            client.indices.delete(index=index)
        for template in client.indices.get_index_template()["index_templates"]:
            if fnmatchcase(template["name"], names):
                client.indices.delete_index_template(name=template["name"])
