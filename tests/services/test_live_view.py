"""summary.py --watch fills a terminal of any size, follows the database and ends cleanly."""

import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clickstream.clients.postgres import Connection, connect
from clickstream.settings import Settings
from tests.services.batches import DEFAULT_RULE, Batches
from tests.services.own_server import OwnServer
from tests.services.records import event
from tests.services.scripts import RunScript, command
from tests.services.waiting import eventually

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals", allow_module_level=True)

from tests.services.pseudo_terminal import PseudoTerminal

END_SECONDS = 90
# In a wide window two tables are side by side.
WIDE_HEADING = re.compile("Event types .*Latest sessions")

Watch = Callable[[Mapping[str, str], tuple[int, int]], PseudoTerminal]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Starts `summary.py --watch` in a terminal of this size: `watch(settings, (80, 24))`."""
    started: list[PseudoTerminal] = []

    def start(settings: Mapping[str, str], size: tuple[int, int]) -> PseudoTerminal:
        line = command("summary.py", "--watch")
        started.append(PseudoTerminal(line, settings, tmp_path, size))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


def now(user_id: str, event_type: str = "page_view", *, minutes_ago: int = 0) -> object:
    time = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return event(user_id, 0, event_type, timestamp=time.isoformat())


def shows(terminal: PseudoTerminal, *texts: str) -> Callable[[], bool]:
    """Return a check that the screen has all these texts."""
    return lambda: all(text in "\n".join(terminal.screen) for text in texts)


def fills(terminal: PseudoTerminal, size: tuple[int, int]) -> Callable[[], bool]:
    """Return a check that the screen has this many lines, none of them wider than the window."""

    def check() -> bool:
        screen = terminal.screen
        return len(screen) == size[1] and max(map(len, screen)) <= size[0]

    return check


def test_it_shows_what_is_stored_fills_the_window_follows_its_size_and_ends_on_ctrl_c(
    batches: Batches, transactions: Connection, environment: dict[str, str], watch: Watch
) -> None:
    """A transaction that is open for long does not make it count events twice."""
    transactions.cursor().execute("SELECT pg_current_xact_id()")
    types = [f"type_{n:02}" for n in range(30)]
    batches.store([[now("a", each) for each in types], [b"no JSON"]])
    batches.store([[now("old", minutes_ago=90)]])
    terminal = watch(environment, (80, 24))
    eventually(shows(terminal, "30 events, ", "type_00"))
    eventually(fills(terminal, (80, 24)))
    screen = terminal.screen
    assert sum("more lines" in line and "…" in line for line in screen) == 1
    assert "type_29" not in "\n".join(screen)

    batches.store([[now("b"), now("b"), now("b", minutes_ago=90)]])
    eventually(shows(terminal, "32 events, ", "page_view"))
    transactions.rollback()  # indexers of other tests wait for it

    for size in ((40, 12), (100, 20), (60, 40), (200, 60)):
        terminal.resize(size)
        eventually(fills(terminal, size))
    eventually(shows(terminal, "type_29"))
    eventually(lambda: any(WIDE_HEADING.match(line) for line in terminal.screen))

    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(END_SECONDS) == 0
    eventually(lambda: terminal.is_restored)
    assert "Traceback" not in terminal.printed


@pytest.mark.long
def test_it_says_in_place_that_postgresql_is_away_and_goes_on_when_it_is_back(
    own_postgres: OwnServer, watch: Watch
) -> None:
    terminal = watch(own_postgres.environment, (100, 30))
    eventually(shows(terminal, "events/s", "0 events, "))
    own_postgres.kill()
    eventually(shows(terminal, "no answer from PostgreSQL at ", "trying again", "0 events, "))
    own_postgres.start()
    eventually(lambda: not shows(terminal, "no answer")())
    with closing(
        connect(Settings.from_mapping(own_postgres.environment), application="test")
    ) as connection:
        Batches(connection, DEFAULT_RULE).store([[now("a")]])
    eventually(shows(terminal, "1 event, "))
    own_postgres.stop()
    eventually(shows(terminal, "no answer"))
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(END_SECONDS) == 0
    eventually(lambda: terminal.is_restored)
    assert "Traceback" not in terminal.printed


def test_a_database_without_tables_gets_a_sentence(
    environment: dict[str, str], run_script: RunScript, watch: Watch
) -> None:
    terminal = watch({**environment, "POSTGRES_DATABASE": "postgres"}, (80, 24))
    assert terminal.process.wait(END_SECONDS) == 1
    eventually(lambda: "has no tables of this version" in terminal.printed)
    assert terminal.is_restored
    piped = run_script("summary.py", "--watch")
    assert (piped.returncode, piped.stdout) == (2, "")
    assert piped.stderr.startswith("error: --watch needs a terminal")
