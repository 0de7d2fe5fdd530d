"""User-agent texts of stored events that wait to be parsed, in bounded memory."""

import threading
from collections.abc import Iterable, Sequence
from itertools import islice

# Limits of the waiting texts. A text beyond them is added when an event has it again; otherwise
# `user-agents refresh` finds it.
MAX_TEXTS = 10_000
MAX_CHARACTERS = 4_000_000
# With more, all known texts are forgotten; parsing a text again changes nothing.
MAX_KNOWN = 200_000


class NewUserAgents:
    """Texts that were not seen before. Several threads may add some; one takes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[int] = set()  # hashes, because a text can have 8,192 characters
        self._waiting: dict[str, None] = {}
        self._characters = 0

    def add(self, texts: Iterable[str | None]) -> None:
        """Add the texts of events; None is an event without one."""
        distinct = {text for text in texts if text is not None}
        with self._lock:
            if len(self._known) > MAX_KNOWN:
                self._known.clear()
            for text in distinct:
                if hash(text) not in self._known and self._has_space(text):
                    self._known.add(hash(text))
                    self._waiting[text] = None
                    self._characters += len(text)

    def first(self, number: int) -> list[str]:
        """Return the texts that have waited longest, up to a number; they keep waiting."""
        with self._lock:
            return list(islice(self._waiting, number))

    def remove(self, texts: Sequence[str]) -> None:
        """Remove texts that `first` returned."""
        with self._lock:
            for text in texts:
                del self._waiting[text]
                self._characters -= len(text)

    def _has_space(self, text: str) -> bool:
        return (
            text not in self._waiting
            and len(self._waiting) < MAX_TEXTS
            and self._characters + len(text) <= MAX_CHARACTERS
        )
