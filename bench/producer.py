"""How fast simulated traffic is, as a share of what kafka-python does with ready-made bytes.

Both go to the same broker (KAFKA_* settings) and to one topic, in turns, so that whatever else
the machine does slows both. Run from the project's folder: python -m bench.producer
"""

import argparse
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import cycle, islice
from random import Random
from statistics import median

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from clickstream import cli
from clickstream.clients.kafka import connection_options
from clickstream.sending.delivery import Kafka
from clickstream.sending.produce import deliver, no_pace
from clickstream.settings import Settings, load
from clickstream.signals import Stop
from clickstream.simulator.event_json import SECOND, Event, Record
from clickstream.simulator.faults import Faults, Plan
from clickstream.simulator.identities import Identities
from clickstream.simulator.schedule import AsScheduled, Places, Population, Schedule

ACTIVE_VISITORS = 10_000
POPULATION = 200_000
PARTITIONS = 6
READY_MADE = 50_000
ROUNDS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Print the rates and their share; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--events", type=int, default=100_000, help="in each round (default: 100000)"
    )
    cli.add_env_file(parser)
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _measure(load(arguments.env_file), arguments.events))


def _measure(settings: Settings, events: int) -> int:
    topic = f"bench-producer-{time.time_ns()}"
    settings = replace(settings, kafka_topic=topic)
    records = _simulated(settings)
    ready_made = list(islice(records, READY_MADE))
    with closing(KafkaAdminClient(**connection_options(settings))) as admin:
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        try:
            rounds = [
                (
                    events / _plain(settings, islice(cycle(ready_made), events)),
                    events / _simulate(settings, islice(records, events)),
                )
                for _ in range(ROUNDS)
            ]
        finally:
            admin.delete_topics([topic])
    _print(rounds, sum(len(record.value or b"") for record in ready_made) / READY_MADE)
    return cli.DONE


def _simulated(settings: Settings) -> Iterable[Record | Event]:
    """Shop traffic of ten thousand active visitors, as fast as it is asked for."""
    rng = Random(1)
    people = Population(Identities(), POPULATION, settings.session_timeout_seconds, rng)
    arrivals = Places(ACTIVE_VISITORS, 8 * SECOND, rng)
    schedule = Schedule(settings, "shop", people, arrivals, AsScheduled(), rng)
    return Faults(Plan(), rng).records(schedule.events(time.time_ns() // 1000))


def _plain(settings: Settings, records: Iterable[Record | Event]) -> float:
    """Seconds that kafka-python takes for bytes that are there."""
    producer = KafkaProducer(
        **connection_options(settings),
        acks="all",
        batch_size=settings.batch_size,
        linger_ms=settings.linger_ms,
    )
    producer.partitions_for(settings.kafka_topic)
    began = time.monotonic()
    for record in records:
        producer.send(settings.kafka_topic, record.value, record.key)
    producer.flush()
    seconds = time.monotonic() - began
    producer.close()
    return seconds


def _simulate(settings: Settings, records: Iterable[Record | Event]) -> float:
    """Seconds that the producer takes to make up the same number of events and send them."""
    sink = Kafka(settings)
    began = time.monotonic()
    deliver(records, sink, no_pace, lambda: None, Stop())
    seconds = time.monotonic() - began
    sink.close()
    if sink.failed:
        raise SystemExit(f"{sink.failed} events failed: {sink.reason}")
    return seconds


def _print(rounds: list[tuple[float, float]], size: float) -> None:
    print(f"events of {size:.0f} bytes on average, {ACTIVE_VISITORS:,} active visitors, acks=all")
    print(f"{'ready-made bytes':>18} {'simulated':>12} {'share':>7}")
    for plain, simulated in rounds:
        print(f"{plain:>16,.0f}/s {simulated:>10,.0f}/s {simulated / plain:>7.2f}")
    share = median(simulated / plain for plain, simulated in rounds)
    print(f"median share: {share:.2f}")


if __name__ == "__main__":
    raise SystemExit(main())
