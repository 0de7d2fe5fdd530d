"""Stopping cleanly: a first signal sets a flag, a second one ends the process at once."""

import signal
import threading
from types import FrameType


class Stop:
    """A flag set by SIGINT or SIGTERM, which are treated alike."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def requested(self) -> bool:
        """Whether the process is to stop."""
        return self._event.is_set()

    def request(self) -> None:
        """Ask for the stop from within."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Let time pass, but no longer than until the stop."""
        self._event.wait(seconds)

    def on_signals(self) -> "Stop":
        """Listen to SIGINT and SIGTERM; a second one ends the process at once."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._event.set()
        signal.signal(number, signal.SIG_DFL)
