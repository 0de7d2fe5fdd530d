"""The topic, the database and the indexes that belong to one history."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from kafka import KafkaAdminClient

from clickstream.clients.kafka import connection_options
from clickstream.clients.postgres import connect
from clickstream.settings import Settings
from tests.crash.schedule import Schedule
from tests.crash.scripts import run_script
from tests.services.databases import CREATE_DATABASE, DROP_DATABASE
from tests.services.search_servers import empty


class Namespace:
    """Topic, database and indexes of a history, with names of their own.

    servers: settings of the servers. folder: the history's own.
    """

    def __init__(self, schedule: Schedule, servers: Mapping[str, str], folder: Path) -> None:
        name = f"crash-{schedule.seed}"
        self._servers = servers
        self._folder = folder
        self.environment = {
            **servers,
            **schedule.settings,
            "KAFKA_TOPIC": name,
            "KAFKA_TOPIC_PARTITIONS": str(schedule.partitions),
            "KAFKA_GROUP_ID": name,
            "POSTGRES_DATABASE": name,
            "OPENSEARCH_INDEX_PREFIX": name,
            "CONSUMER_BATCH_EVENTS": str(schedule.batch_events),
            "CONSUMER_BATCH_MS": "50",
        }
        self.settings = Settings.from_mapping(self.environment)

    def create(self) -> None:
        """Create the topic, the database and the tables."""
        (self._folder / ".env").touch()  # else scripts in this folder would read the project's
        self._maintain(CREATE_DATABASE)
        created = run_script(self.environment, self._folder, "create_schema.py")
        assert created.returncode == 0, created.stdout + created.stderr

    def delete(self) -> None:
        """Delete the topic, the database and the indexes."""
        self._maintain(DROP_DATABASE)
        empty(self.environment, f"{self.settings.opensearch_index_prefix}-*")
        with closing(KafkaAdminClient(**connection_options(self.settings))) as admin:
            admin.delete_topics([self.settings.kafka_topic])

    def _maintain(self, statement: str) -> None:
        settings = Settings.from_mapping(self._servers)
        with closing(connect(settings, application="crash test")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement.format(name=self.settings.postgres_database))
