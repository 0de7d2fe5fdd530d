"""Detecting a topic that was recreated or became shorter, before more of it is stored."""

from typing import NoReturn

from clickstream.consumer.assignment import Assignment
from clickstream.consumer.database import Database
from clickstream.consumer.topic import Topic
from clickstream.storage import positions
from clickstream.storage.positions import FencedError


class TopicCheck:
    """Compares an assignment with the topic that Kafka has now."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._suspects: list[int] = []

    def check(self, topic: Topic, assignment: Assignment) -> None:
        """Raise FencedError if the topic was recreated, or ends before a stored position.

        A new partition leader may lag for a moment. Only a partition that ends too early in two
        checks in a row became shorter: it is read again from its beginning.
        """
        if topic.identity() != assignment.topic:
            raise FencedError(f"topic {assignment.topic.name} was recreated")
        ahead = assignment.ahead_of(topic.high_watermarks())
        suspects, self._suspects = self._suspects, ahead
        if ahead and ahead == suspects:
            self.read_again(assignment, ahead)
        if ahead:
            raise FencedError(f"partitions {ahead} end before their stored positions")

    def read_again(self, assignment: Assignment, partitions: list[int]) -> NoReturn:
        """Make the next owner read partitions from their beginnings, and raise FencedError."""
        with self._database.transaction() as cursor:
            positions.reset(cursor, assignment.topic.name, partitions)
        raise FencedError(
            f"partitions {partitions} of topic {assignment.topic.name} became shorter"
        )
