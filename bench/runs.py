"""The figures of one run of one or several consumers, of Flink SQL or of a floor."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.cpu_time import BROKER, POSTGRES

MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one run.

    side: name of the consumers, a Flink job or a floor. seconds: from the first poll or row to the
    last commit or row. cpu: microseconds per event, by process; those of servers on other machines
    are missing. hot_share: share of the updates of session_metrics that changed no index. peak_mib:
    largest size of the consumer.
    """

    side: str
    visitors: int
    events: int
    seconds: float
    cpu: dict[str, float]
    hot_share: float | None = None
    peak_mib: float | None = None

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def own_cpu(self) -> float:
        """Microseconds per event of all processes but the servers."""
        return sum(each for name, each in self.cpu.items() if name not in (POSTGRES, BROKER))


def per_event(seconds: Mapping[str, float], events: int) -> dict[str, float]:
    """Return CPU times in microseconds per event. seconds: those of all events, by process."""
    return {name: each * MICRO / events for name, each in seconds.items()}


def append(file: Path, runs: Iterable[Run]) -> None:
    """Add runs to a file, each as one line of JSON."""
    with file.open("a", encoding="utf-8") as output:
        output.writelines(json.dumps(asdict(run)) + "\n" for run in runs)


def read(file: Path) -> list[Run]:
    """Return the runs in a file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Run(**json.loads(line)) for line in lines]
