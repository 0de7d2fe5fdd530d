"""Stopping on SIGINT or SIGTERM: the first sets a flag, the second ends the process at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket, socketpair
from types import FrameType


class Stop:
    """A request to stop, which the loops check."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._interrupts = False

    @property
    def requested(self) -> bool:
        """True if the process should stop."""
        return self._event.is_set()

    def request(self) -> None:
        """Request the stop without a signal."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Wait this long, or until the stop is requested."""
        self._event.wait(seconds)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raise KeyboardInterrupt as soon as a signal comes in this context, in the main thread.

        For calls that wait long and do not check the request.
        """
        self._interrupts = True
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
        finally:
            self._interrupts = False

    def on_signals(self) -> "Stop":
        """Request the stop on SIGINT and SIGTERM; return self.

        A second signal ends the process at once. The request is made as soon as the signal comes,
        also if the main thread waits in C code, as libpq does, where Python calls no handler.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)
        receiver, sender = socketpair()
        sender.setblocking(False)
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._receive, args=(receiver, sender), daemon=True).start()
        return self

    def _receive(self, receiver: socket, _sender: socket) -> None:
        """Request the stop when Python's signal handler in C has sent a byte.

        _sender: is closed when nobody refers to it any more.
        """
        receiver.recv(1)
        self._event.set()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._event.set()
        signal.signal(number, signal.SIG_DFL)
        if self._interrupts:
            raise KeyboardInterrupt
