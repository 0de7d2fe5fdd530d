"""Removing members of the consumer group whose processes have ended without leaving it.

Kafka removes a killed member when its session times out. Until then nobody reads its partitions,
and a rebalance waits for it. PostgreSQL knows at once, because a process that ends closes its
connection. A member that is removed although it lives joins again, and the epochs fence it.
"""

import logging
from collections.abc import Collection
from contextlib import closing

from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError, NoError

from clickstream.clients.kafka import connection_options
from clickstream.clients.postgres import Cursor
from clickstream.consumer.assignment import Assignment
from clickstream.consumer.database import Database
from clickstream.consumer.interval import Interval
from clickstream.consumer.topic import REQUEST_TIMEOUT_MS, Topic
from clickstream.errors import first_line
from clickstream.settings import Settings
from clickstream.storage import positions, schema_version

logger = logging.getLogger(__name__)

# A consumer whose connection broke needs a moment to acquire its partitions with another one.
INTERVAL_SECONDS = 0.5


class GoneMembers:
    """Members of the group that own partitions and have no connection to PostgreSQL."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._interval = Interval(INTERVAL_SECONDS)
        self._suspects: set[str] = set()
        self._tried: set[str] = set()

    def remove_before_join(self) -> None:
        """Remove all gone members before this consumer joins, because a join waits for them.

        Raises UserError if the tables are of another version.
        """
        with self._database.transaction() as cursor:
            schema_version.require(cursor)
            gone = self._find(cursor)
        self._remove(gone)

    def remove_if_due(self, topic: Topic, assignment: Assignment) -> None:
        """Remove the members that two checks in a row have found, if it is time for a check.

        Do not call it while this consumer joins: the local broker would then never remove them.
        """
        if self._interval.is_over and topic.partitions() - assignment.partitions.keys():
            self._interval.restart()
            with self._database.transaction() as cursor:
                suspects, self._suspects = self._suspects, self._find(cursor)
            self._remove(self._suspects & suspects)

    def _find(self, cursor: Cursor) -> set[str]:
        """Return the ids of gone members that `_remove` has not tried before."""
        settings = self._settings
        gone = positions.gone_members(cursor, settings.kafka_topic, settings.kafka_group_id)
        self._tried &= gone
        return gone - self._tried

    def _remove(self, member_ids: Collection[str]) -> None:
        """Make Kafka remove members. It ignores ids that are no members any more.

        Each is tried once: a Kafka that does not answer costs REQUEST_TIMEOUT_MS, and the session
        of the member times out soon anyway.
        """
        if not member_ids:
            return
        self._tried |= set(member_ids)
        members = [MemberToRemove(member_id) for member_id in member_ids]
        options = {**connection_options(self._settings), "bootstrap_timeout_ms": REQUEST_TIMEOUT_MS}
        try:
            with closing(KafkaAdminClient(**options)) as admin:
                answers = admin.remove_group_members(self._settings.kafka_group_id, members)
        except KafkaError as error:
            logger.warning("Kafka did not remove a consumer that has ended: %s", first_line(error))
            return
        for member_id, answer in answers.items():
            if answer is NoError:
                logger.info("removed member %s, which has ended, from its group", member_id)
