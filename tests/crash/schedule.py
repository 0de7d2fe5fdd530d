"""The schedule of a history: everything that is decided before it begins, made from a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from random import Random

from clickstream.fail_points import FailPoint

POINTS_OF_A_BATCH = [point for point in FailPoint if point.startswith("batch")]
OTHER_POINTS = [point for point in FailPoint if point not in POINTS_OF_A_BATCH]


class Kind(StrEnum):
    """A disturbance of the consumers or of their servers."""

    KILL_AT = "kill at"
    KILL = "kill a consumer"
    KILL_ALL = "kill all consumers at once and start as many"
    PAUSE = "pause a consumer until others own its partitions"
    ADD = "add a consumer"
    REMOVE = "remove a consumer"
    KILL_POSTGRES = "kill PostgreSQL and start it again"
    STOP_POSTGRES = "stop PostgreSQL and start it again"
    KILL_SEARCH = "kill the search server and start it again"
    KILL_KAFKA = "kill Kafka and start it again"


OTHER_KINDS = [kind for kind in Kind if kind not in {Kind.KILL_AT, Kind.KILL_KAFKA}]


@dataclass(frozen=True, slots=True)
class Action:
    """A disturbance, and when it comes.

    records: it comes when this many records are stored, and `seconds` after that.
    point: the point of a KILL_AT. consumer: number of the consumer, counted modulo those that run.
    """

    kind: Kind
    records: int
    seconds: float
    consumer: int
    point: FailPoint | None = None

    def __str__(self) -> str:
        name = f"{self.kind} {self.point}" if self.point else self.kind
        return f"after {self.records:,} records and {self.seconds:.2f} s: {name}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A history before it runs.

    traffic_seconds: time in which the records are sent; 0: as fast as possible.
    random_keys: the records of one visitor are in several partitions.
    kill_all: the last consumers are killed, not stopped, before the drain.
    """

    seed: int
    events: int
    partitions: int
    consumers: int
    batch_events: int
    traffic_seconds: int
    random_keys: bool
    kill_all: bool
    settings: dict[str, str] = field(default_factory=dict)
    actions: Sequence[Action] = ()

    def lines(self) -> list[str]:
        """Return the schedule as lines to print."""
        rule = "".join(f", {name}={value}" for name, value in self.settings.items())
        keys = ", keys at random" if self.random_keys else ""
        return [
            f"{self.events:,} events in {self.traffic_seconds} s to {self.partitions} partitions"
            f"{keys}, {self.consumers} consumers, batches of {self.batch_events}{rule}",
            *map(str, self.actions),
            f"{'kill' if self.kill_all else 'stop'} all consumers, and drain",
        ]


def make_schedule(seed: int, *, events: int, kafka_restarts: bool = False) -> Schedule:
    """Return the schedule of a seed.

    kafka_restarts: also kill the broker, which must keep its data.
    """
    rng = Random(seed)
    random_keys = rng.random() < 0.3
    return Schedule(
        seed=seed,
        events=events,
        partitions=rng.choice((2, 4, 6, 12)),
        # Several consumers at once store events of one visitor whose records have random keys.
        consumers=rng.choice((1, 2, 2, 4)) + random_keys,
        batch_events=rng.choice((25, 50, 100, 200)),
        traffic_seconds=rng.choice((0, 4, 8)),
        random_keys=random_keys,
        kill_all=rng.random() < 0.5,
        settings=rng.choice(
            ({}, {}, {"SESSION_START_EVENTS": "login", "SESSION_END_EVENTS": "logout"})
        ),
        actions=tuple(_actions(rng, events, kafka_restarts)),
    )


def _actions(rng: Random, events: int, kafka_restarts: bool) -> Iterator[Action]:
    points = chain(rng.sample(POINTS_OF_A_BATCH, 3), rng.sample(OTHER_POINTS, 1))
    chosen: list[tuple[Kind, FailPoint | None]] = [(Kind.KILL_AT, point) for point in points]
    chosen += [(kind, None) for kind in rng.sample(OTHER_KINDS, 3)]
    if kafka_restarts:
        chosen.append((Kind.KILL_KAFKA, None))
    rng.shuffle(chosen)
    # The last records come after the last action, so that there is something left to store.
    times = sorted(rng.randrange(events * 8 // 10) for _ in chosen)
    for (kind, point), records in zip(chosen, times, strict=True):
        yield Action(kind, records, rng.uniform(0, 0.5), rng.randrange(12), point)
