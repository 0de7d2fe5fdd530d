"""The records of a history: those of the producer, and events that need a repair."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from kafka import KafkaProducer

from clickstream.clients.kafka import connection_options
from clickstream.settings import Settings
from tests.crash.repaired import Record
from tests.crash.schedule import Schedule
from tests.services.scripts import Script, command

# The truth file of the producer.
SENT_TRUTH = "truth-sent.json"
SIMULATED_HOURS = 6
UNTIL = "2025-06-02T12:00:00Z"
# Long sessions, so that many of them are open when their partition gets another owner.
VISITS = (
    *("--users", "100", "--target-active-users", "40"),
    *("--session-duration-max", "14400", "--action-delay-max", "600"),
)
FAULTS = ("--late", "0.1", "--duplicate", "0.05", "--malformed", "0.03", "--skew", "20")
SEND_SECONDS = 120.0


def start_producer(schedule: Schedule, environment: Mapping[str, str], folder: Path) -> Script:
    """Start the producer; its truth file is SENT_TRUTH in the folder."""
    arguments = [
        *("--seed", str(schedule.seed), "--events", str(schedule.events), *VISITS),
        *("--backfill", f"{SIMULATED_HOURS}h", "--until", UNTIL, *FAULTS),
        *("--truth", str(folder / SENT_TRUTH)),
    ]
    if schedule.traffic_seconds:
        arguments += ["--speed", str(SIMULATED_HOURS * 3_600 / schedule.traffic_seconds)]
    if schedule.random_keys:
        arguments.append("--unkeyed")
    return Script(command("producer.py", *arguments), environment, folder)


def send(settings: Settings, records: Sequence[Record]) -> None:
    """Send records, until all are acknowledged."""
    with closing(KafkaProducer(**connection_options(settings))) as producer:
        sent = [
            producer.send(
                settings.kafka_topic, record.value, key=record.key, partition=record.partition
            )
            for record in records
        ]
        for each in sent:
            each.get(timeout=SEND_SECONDS)
