"""The producer beside kafka-python that sends bytes made beforehand, in turns on one topic.

README.md in this folder says how it measures. Run it from the project's folder:

    python -m bench.producer
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, time_ns
from typing import NamedTuple

from kafka import KafkaProducer

from bench import results, servers
from clickstream import cli
from clickstream.clients.kafka import connection_options
from clickstream.model.reading import NATIVE_READING
from clickstream.sending.blocks import in_blocks
from clickstream.sending.delivery import KafkaSink
from clickstream.sending.options import visit_behaviour
from clickstream.sending.pace import no_wait
from clickstream.sending.produce import deliver
from clickstream.sending.replay import Replay
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.simulator.arrivals import ClosedPopulation
from clickstream.simulator.event_json import SECOND, OutgoingRecord, SimulatedEvent
from clickstream.simulator.faults import FaultInjector, FaultRates
from clickstream.simulator.identities import Identities
from clickstream.simulator.schedule import Schedule
from clickstream.simulator.timing import ScheduledTiming
from clickstream.simulator.visitor_pool import VisitorPool
from producer import collect_garbage_rarely

TITLE = "The producer and kafka-python alone"
ACTIVE_VISITORS = 10_000
POPULATION = 200_000
PREPARED = 50_000
MICRO = 1e6
PLAIN, SIMULATED, REPLAYED = "kafka-python, bytes made beforehand", "simulated", "--replay"
SIDES = (PLAIN, SIMULATED, REPLAYED)
COLUMNS = ("", "events/s", "CPU, us per event", "rate / kafka-python's", "CPU ratio", "in 9 of 10")
NOTE = (
    "CPU ratio: CPU time of kafka-python divided by that of this side, median of the rounds. "
    "In 9 of 10: nine of ten rounds have at least this CPU ratio."
)

Records = Iterable[OutgoingRecord | SimulatedEvent]


class Turn(NamedTuple):
    """One side in one round.

    seconds: until all is acknowledged. cpu: CPU time of this process, seconds.
    """

    seconds: float
    cpu: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and keep the results; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=50_000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=10, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _measure(arguments.events, arguments.rounds))


def _measure(events: int, rounds: int) -> int:
    collect_garbage_rarely()
    with servers.running(["kafka"]) as settings, TemporaryDirectory() as folder:
        simulation = iter(_simulated(settings))
        prepared = list(islice(simulation, PREPARED))
        file = Path(folder) / "events.ndjson"
        file.write_bytes(
            b"".join((each.value or b"") + b"\n" for each in _repeated(prepared, events))
        )
        sides: dict[str, Callable[[], None]] = {
            PLAIN: lambda: _send_plainly(settings, _repeated(prepared, events)),
            SIMULATED: lambda: _send(settings, islice(simulation, events)),
            REPLAYED: lambda: _send(settings, _replayed(file)),
        }
        measured = [{name: _turn(send) for name, send in sides.items()} for _ in range(rounds)]
    size = sum(len(each.value or b"") for each in prepared) / PREPARED
    results.keep(TITLE, _lines(measured, events, size))
    return cli.DONE


def _turn(send: Callable[[], None]) -> Turn:
    began, cpu_before = perf_counter(), process_time()
    send()
    return Turn(perf_counter() - began, process_time() - cpu_before)


def _simulated(settings: Settings) -> Records:
    """Return shop traffic of ten thousand active visitors, simulated as it is read."""
    rng = Random(1)
    behaviour = visit_behaviour("shop", settings)
    pool = VisitorPool(Identities(), POPULATION, behaviour.session_timeout, rng)
    arrivals = ClosedPopulation(ACTIVE_VISITORS, 8 * SECOND, rng)
    schedule = Schedule(behaviour, pool, arrivals, ScheduledTiming(), rng)
    return FaultInjector(FaultRates(), rng).records(schedule.events(time_ns() // 1000))


def _repeated(prepared: Records, events: int) -> Iterator[OutgoingRecord | SimulatedEvent]:
    return islice(cycle(prepared), events)


def _replayed(file: Path) -> Iterator[OutgoingRecord]:
    replay = Replay(
        str(file),
        renaming=None,
        reading=NATIVE_READING,
        now=partial(datetime.now, UTC),
        strict=False,
    )
    return replay.records(Stop())


def _send_plainly(settings: Settings, records: Records) -> None:
    with closing(
        KafkaProducer(
            **connection_options(settings),
            acks="all",
            batch_size=settings.batch_size,
            linger_ms=settings.linger_ms,
        )
    ) as producer:
        for record in records:
            producer.send(settings.kafka_topic, record.value, record.key)
        producer.flush()


def _send(settings: Settings, records: Records) -> None:
    """Send as the producer does at full speed."""
    with closing(KafkaSink(settings)) as sink:
        deliver(in_blocks(records), sink, no_wait, lambda: None, Stop())
    if sink.failed:
        raise SystemExit(f"{sink.failed} events failed: {sink.reason}")


def _lines(measured: Sequence[dict[str, Turn]], events: int, size: float) -> list[str]:
    rows = []
    for side in SIDES:
        turns = [each[side] for each in measured]
        plain = [each[PLAIN] for each in measured]
        pairs = list(zip(plain, turns, strict=True))
        ratios = sorted(theirs.cpu / ours.cpu for theirs, ours in pairs)
        rows.append(
            [
                side,
                f"{median(events / turn.seconds for turn in turns):,.0f}",
                f"{median(turn.cpu for turn in turns) * MICRO / events:.1f}",
                f"{median(theirs.seconds / ours.seconds for theirs, ours in pairs):.2f}",
                f"{median(ratios):.2f}",
                f"{ratios[len(ratios) // 10]:.2f}",
            ]
        )
    head = f"{len(measured)} rounds of {events:,} events of {size:.0f} bytes on average."
    return [head, "", *results.table(COLUMNS, rows), "", NOTE]


if __name__ == "__main__":
    raise SystemExit(main())
