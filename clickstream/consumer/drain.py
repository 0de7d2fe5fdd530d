"""Draining: knowing when everything that was in the topic at the start is stored."""

from clickstream.clients.postgres import Connection
from clickstream.consumer.batch import Assignment
from clickstream.consumer.stream import Stream
from clickstream.storage import positions
from clickstream.storage.positions import TopicIdentity


class Drain:
    """The ends of all partitions as they were when they were first seen."""

    def __init__(self) -> None:
        self._topic: TopicIdentity | None = None
        self._ends: dict[int, int] = {}

    def done(self, stream: Stream, assignment: Assignment, connection: Connection) -> bool:
        """Whether all that was there is stored, by this consumer or by others of the group."""
        if assignment.topic != self._topic:
            self._topic, self._ends = assignment.topic, {}
        self._ends = {**stream.high_watermarks(), **self._ends}
        if any(
            partition not in self._ends or owned.position < self._ends[partition]
            for partition, owned in assignment.partitions.items()
        ):
            return False
        others = stream.partitions() - self._ends.keys()
        self._ends |= stream.ends(others)
        with connection, connection.cursor() as cursor:
            stored = positions.stored(cursor, assignment.topic)
        return all(stored.get(partition, 0) >= end for partition, end in self._ends.items())
