"""Check of the stored positions against what Kafka still has."""

from collections.abc import Iterator
from contextlib import closing

import psycopg2
from kafka.errors import KafkaError

from clickstream.clients.postgres import connect
from clickstream.doctor.checks import Check
from clickstream.errors import UserError, first_line
from clickstream.inspection.topic_reader import TopicReader
from clickstream.plurals import plural
from clickstream.settings import Settings
from clickstream.storage import positions

APPLICATION = "clickstream doctor"


def checks(settings: Settings) -> Iterator[Check]:
    """Yield the check; Kafka and PostgreSQL must have passed theirs."""
    yield Check("unread", lambda: _check_unread(settings))


def _check_unread(settings: Settings) -> str:
    """Check that Kafka has all records after the stored positions."""
    try:
        removed = _removed_unread(settings)
    except (KafkaError, psycopg2.Error, OSError) as error:
        raise UserError(
            f"the positions could not be compared with Kafka ({first_line(error)}); run this again"
        ) from None
    if not removed:
        return "Kafka has every record that is not read yet"
    number = sum(map(len, removed.values()))
    ranges = "; ".join(
        f"partition {partition}: offsets {offsets[0]} to {offsets[-1]}"
        for partition, offsets in removed.items()
    )
    raise UserError(
        f"Kafka's retention removed {number} {plural(number, 'record')} of topic "
        f"{settings.kafka_topic} that this database has not read ({ranges}); the consumer "
        "continues after them: restore a later backup if you have one, and give the topic a longer "
        "retention"
    )


def _removed_unread(settings: Settings) -> dict[int, range]:
    """Return the offsets from the stored position to Kafka's earliest record, by partition."""
    with (
        TopicReader(settings) as reader,
        closing(connect(settings, application=APPLICATION)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        beginnings = reader.beginning_offsets()
        stored = positions.read(cursor, reader.topic.identity())
    removed = {n: range(stored.get(n, first), first) for n, first in sorted(beginnings.items())}
    return {partition: offsets for partition, offsets in removed.items() if offsets}
