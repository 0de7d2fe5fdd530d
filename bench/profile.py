"""The consumer's CPU time by function, from samples of its call stacks that py-spy took."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SHOWN = 35
PACKAGES = ("(clickstream/", "(kafka/")


def print_profile(samples: Path, cpu: float) -> None:
    """Print the functions that take most of the CPU time.

    Time outside Python code is divided among them in proportion to their samples. samples: the file
    that py-spy wrote, in its raw format. cpu: microseconds per event of the whole process.
    """
    alone: Counter[str] = Counter()
    with_called: Counter[str] = Counter()
    total = 0
    for frames, number in _stacks(samples):
        total += number
        alone[frames[-1]] += number
        for name in {name for name in frames if any(part in name for part in PACKAGES)}:
            with_called[name] += number
    for title, counted in (
        ("with the functions it calls", with_called),
        ("without the functions it calls", alone),
    ):
        print(f"\nCPU us per event of a function {title} ({total:,} samples):")
        for name, number in counted.most_common(SHOWN):
            print(f"  {cpu * number / total:6.2f}  {name}")


def _stacks(samples: Path) -> Iterator[tuple[list[str], int]]:
    """Yield the functions of each stack, the outermost first, and the number of its samples."""
    for line in samples.read_text(encoding="utf-8").splitlines():
        stack, _, number = line.rpartition(" ")
        yield stack.split(";"), int(number)
