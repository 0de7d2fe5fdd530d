"""Detecting a topic that was recreated or became shorter, before more of it is stored."""

from typing import NoReturn

from clickstream.consumer.assignment import Assignment
from clickstream.consumer.database import Database
from clickstream.consumer.topic import Topic
from clickstream.storage import positions
from clickstream.storage.positions import FencedError


class TopicCheck:
    """Compares what was acquired with the topic that Kafka has now."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._suspects: list[int] = []

    def check(self, topic: Topic, assignment: Assignment) -> None:
        """Raise FencedError if the topic is another one, or ends before a stored position.

        A new leader may lag for a moment. Partitions that end too early twice in a row became
        shorter: they are read again from their beginnings.
        """
        if topic.identity() != assignment.topic:
            raise FencedError(f"topic {assignment.topic.name} was recreated")
        ahead = assignment.ahead_of(topic.high_watermarks())
        suspects, self._suspects = self._suspects, ahead
        if ahead and ahead == suspects:
            self.read_again(assignment, ahead)
        if ahead:
            raise FencedError(f"partitions {ahead} end before what was read of them")

    def read_again(self, assignment: Assignment, partitions: list[int]) -> NoReturn:
        """Let the next owner read partitions from their beginnings, and raise FencedError."""
        with self._database.transaction() as cursor:
            positions.reset(cursor, assignment.topic.name, partitions)
        raise FencedError(
            f"partitions {partitions} of topic {assignment.topic.name} became shorter"
        )
