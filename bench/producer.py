"""Compares the rate of the producer with that of kafka-python sending prepared bytes.

Both send to the same broker (KAFKA_* settings) and to one topic, in turns, so that other load on
the machine slows both. Run from the project's folder: python -m bench.producer
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
from clickstream.sending.delivery import KafkaSink
from clickstream.sending.options import visit_behaviour
from clickstream.sending.pace import no_wait
from clickstream.sending.produce import deliver
from clickstream.settings import Settings, load
from clickstream.signals import Stop
from clickstream.simulator.arrivals import ClosedPopulation
from clickstream.simulator.event_json import SECOND, OutgoingRecord, SimulatedEvent
from clickstream.simulator.faults import FaultInjector, FaultRates
from clickstream.simulator.identities import Identities
from clickstream.simulator.schedule import Schedule
from clickstream.simulator.timing import ScheduledTiming
from clickstream.simulator.visitor_pool import VisitorPool
from producer import collect_garbage_rarely

ACTIVE_VISITORS = 10_000
POPULATION = 200_000
PARTITIONS = 6
PREPARED = 50_000
ROUNDS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Print the rates and their ratio, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--events", type=int, default=100_000, help="events per round (default: 100000)"
    )
    cli.add_env_file(parser)
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _measure(load(arguments.env_file), arguments.events))


def _measure(settings: Settings, events: int) -> int:
    collect_garbage_rarely()
    topic = f"bench-producer-{time.time_ns()}"
    settings = replace(settings, kafka_topic=topic)
    records = _simulated(settings)
    prepared = list(islice(records, PREPARED))
    with closing(KafkaAdminClient(**connection_options(settings))) as admin:
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        try:
            rounds = [
                (
                    events / _plain(settings, islice(cycle(prepared), events)),
                    events / _simulate(settings, islice(records, events)),
                )
                for _ in range(ROUNDS)
            ]
        finally:
            admin.delete_topics([topic])
    _print(rounds, sum(len(record.value or b"") for record in prepared) / PREPARED)
    return cli.DONE


def _simulated(settings: Settings) -> Iterable[OutgoingRecord | SimulatedEvent]:
    """Return shop traffic of ten thousand active visitors, simulated as it is read."""
    rng = Random(1)
    behaviour = visit_behaviour("shop", settings)
    pool = VisitorPool(Identities(), POPULATION, behaviour.session_timeout, rng)
    arrivals = ClosedPopulation(ACTIVE_VISITORS, 8 * SECOND, rng)
    schedule = Schedule(behaviour, pool, arrivals, ScheduledTiming(), rng)
    return FaultInjector(FaultRates(), rng).records(schedule.events(time.time_ns() // 1000))


def _plain(settings: Settings, records: Iterable[OutgoingRecord | SimulatedEvent]) -> float:
    """Return the seconds that kafka-python takes to send prepared bytes."""
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


def _simulate(settings: Settings, records: Iterable[OutgoingRecord | SimulatedEvent]) -> float:
    """Return the seconds that the producer takes to simulate and send as many events."""
    sink = KafkaSink(settings)
    began = time.monotonic()
    deliver(records, sink, no_wait, lambda: None, Stop())
    seconds = time.monotonic() - began
    sink.close()
    if sink.failed:
        raise SystemExit(f"{sink.failed} events failed: {sink.reason}")
    return seconds


def _print(rounds: list[tuple[float, float]], size: float) -> None:
    print(f"events of {size:.0f} bytes on average, {ACTIVE_VISITORS:,} active visitors, acks=all")
    print(f"{'prepared bytes':>18} {'simulated':>12} {'ratio':>7}")
    for plain, simulated in rounds:
        print(f"{plain:>16,.0f}/s {simulated:>10,.0f}/s {simulated / plain:>7.2f}")
    ratio = median(simulated / plain for plain, simulated in rounds)
    print(f"median ratio: {ratio:.2f}")


if __name__ == "__main__":
    raise SystemExit(main())
