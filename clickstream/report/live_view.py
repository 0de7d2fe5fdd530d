"""The live view of summary.py --watch: reads and draws until a stop is requested.

A thread reads, so that resizing and Ctrl-C work while PostgreSQL does not answer.
"""

import threading
from time import monotonic

import psycopg2
from rich.live import Live

from clickstream.clients.addresses import postgres_address
from clickstream.clients.postgres import connect_or_explain, connection_failure
from clickstream.errors import UserError
from clickstream.report.live_figures import APPLICATION, LiveFigures, LiveReader
from clickstream.report.live_screen import View, screen
from clickstream.report.terminal import draws_bars, open_console
from clickstream.settings import Settings
from clickstream.signals import Stop

REFRESH_SECONDS = 2.0
# How soon the screen follows a new size, new figures, or Ctrl-C.
POLL_SECONDS = 0.1


def watch(settings: Settings, stop: Stop) -> None:
    """Show the live view until a stop is requested.

    Raises UserError if PostgreSQL cannot be reached at the start, or has no tables. An outage later
    on is shown on the screen.
    """
    connection = connect_or_explain(settings, application=APPLICATION)
    console = open_console()
    readings = Readings(settings, stop)
    reader = LiveReader(settings, connection)
    reading = threading.Thread(target=readings.run, args=(reader,), daemon=True)
    reading.start()
    drawn = None
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not stop.requested and reading.is_alive():
            view = View(
                settings.postgres_database,
                settings.report_timezone,
                readings.figures,
                readings.problem,
                draws_bars(console),
            )
            if drawn != (console.size, view):
                drawn = (console.size, view)
                live.update(screen(console, view), refresh=True)
            stop.wait(POLL_SECONDS)
    if readings.error is not None:
        raise readings.error


class Readings:
    """The newest figures, read by a thread.

    figures: None before the first reading. error: ends the live view.
    """

    def __init__(self, settings: Settings, stop: Stop) -> None:
        self.figures: LiveFigures | None = None
        self.error: UserError | None = None
        self._settings = settings
        self._stop = stop
        self._failure = ""
        self._failing_since: float | None = None

    def run(self, reader: LiveReader) -> None:
        """Read every REFRESH_SECONDS until a stop is requested or the tables are missing."""
        while not self._stop.requested:
            try:
                self.figures = reader.read()
                self._failing_since = None
            except psycopg2.Error as error:
                self._failure = connection_failure(error)
                self._failing_since = self._failing_since or monotonic()
            except UserError as error:
                self.error = error
                return
            self._stop.wait(REFRESH_SECONDS)

    @property
    def problem(self) -> str | None:
        """The reason why newer figures cannot be read, and since when; None while they can."""
        since = self._failing_since
        if since is None:
            return None
        return (
            f"no answer from {postgres_address(self._settings)} for {monotonic() - since:.0f} s "
            f"({self._failure}); trying again"
        )
