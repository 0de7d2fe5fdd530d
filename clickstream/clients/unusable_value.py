"""A substitute for the value of a record that the Kafka client cannot deliver."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnusableValue:
    """Substitute for a value that cannot become an event, because of its encoding or its size.

    reason: a code, as in rejected_events. detail: one sentence. first_bytes: the beginning of the
    value, None if nothing of it could be read.
    """

    reason: str
    detail: str
    first_bytes: bytes | None = None

    def __len__(self) -> int:
        """Return the number of bytes that are in memory."""
        return len(self.first_bytes or b"")
