"""Parse random records: `python -m tests.fuzz 1000000`. `make fuzz` does it.

Each must become an event that can be stored, or be rejected for a known reason, in bounded time,
and be shown without a character that controls a terminal. The value kept of it with truncated
addresses must be read in the same way.
"""

import argparse
import json
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count, islice
from random import Random, SystemRandom

from clickstream.admin.record_bytes import bytes_lines
from clickstream.model.events import Event, InvalidEventError
from clickstream.model.ip_addresses import IpAddresses
from clickstream.model.reading import Reading
from clickstream.model.rejected_values import kept_value
from clickstream.storage.outcomes import RecordOutcome, read_event
from clickstream.untrusted_text import clean, clip
from tests.fuzz.inputs import random_value
from tests.unit.parsing import FAR_FUTURE, ORIGIN, check_refusal, read
from tests.unit.storable_event import check_storable

INPUTS = 1_000_000
CHUNK_INPUTS = 5_000
# CPU time for one input of up to 1 MiB, on a machine four times as slow as a laptop.
LONGEST_SECONDS = 4.0
LARGEST_SEED = 10**6
TRUNCATED = Reading(ip_addresses=IpAddresses.TRUNCATED)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "inputs",
        nargs="?",
        type=int,
        help=f"how many, rounded up to a multiple of {CHUNK_INPUTS:,} (default: {INPUTS:,})",
    )
    parser.add_argument("--seconds", type=float, help="begin no more inputs after this time")
    parser.add_argument("--seed", type=int, help=f"of the first {CHUNK_INPUTS:,} inputs")
    return parser


def check_input(value: bytes | None) -> tuple[str, float]:
    """Parse a value and check the outcome; return "event" or the reason, and the CPU seconds."""
    event: Event | None
    began = time.process_time()
    try:
        event = read(value, FAR_FUTURE)
        outcome = "event"
        shown = [clip(event.user_id, 40), clip(event.page_url or "", 40)]
    except InvalidEventError as error:
        event = error.event
        check_refusal(error)
        outcome = error.reason
        shown = [clean(error.detail), *bytes_lines(value or b"")]
    seconds = time.process_time() - began
    check_retry(value)
    if event:
        check_storable(event)
    assert all(map(_is_harmless, set("".join(shown)))), shown
    assert seconds < LONGEST_SECONDS, f"{seconds:.1f} s"
    return outcome, seconds


def check_retry(value: bytes | None) -> None:
    """Check that the value kept of a rejected record is read as the record is."""
    kept = kept_value(value, ORIGIN, TRUNCATED)
    if kept.value is not None:
        assert outcome_of(value) == outcome_of(kept.value, kept.derived_event_id)


def outcome_of(value: bytes | None, derived_event_id: str | None = None) -> Event | RecordOutcome:
    """Return the event or the rejection of a value, with truncated addresses.

    Its properties are without blanks, which the two ways to read a record write differently.
    """
    outcome = read_event(
        value,
        origin=ORIGIN,
        latest=FAR_FUTURE,
        reading=TRUNCATED,
        derived_event_id=derived_event_id,
    )
    if not isinstance(outcome, Event) or outcome.properties is None:
        return outcome
    return outcome._replace(properties=json.dumps(json.loads(outcome.properties)))


def _is_harmless(character: str) -> bool:
    """Return True unless a character could control a terminal or is invisible."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def check_chunk(seed: int) -> tuple[Counter[str], float]:
    """Check CHUNK_INPUTS inputs; return the outcomes and the CPU seconds of the slowest.

    Raises AssertionError with the seed and the input.
    """
    chance = Random(seed)
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for number in range(CHUNK_INPUTS):
        value = random_value(chance)
        try:
            outcome, seconds = check_input(value)
        except Exception as error:
            raise AssertionError(
                f"input {number} of seed {seed}, {len(value or b'')} bytes, "
                f"{(value or b'')[:400]!r}: {type(error).__name__}: {str(error)[:400]}"
            ) from error
        outcomes[outcome] += 1
        slowest = max(slowest, seconds)
    return outcomes, slowest


def main() -> int:
    """Check the inputs in one process per core, and print the outcomes."""
    arguments = build_parser().parse_args()
    seed = arguments.seed if arguments.seed is not None else SystemRandom().randrange(LARGEST_SEED)
    inputs = arguments.inputs or (None if arguments.seconds else INPUTS)
    seeds = islice(count(seed), None if inputs is None else -(-inputs // CHUNK_INPUTS))
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    began = time.monotonic()
    with ProcessPoolExecutor() as workers:
        try:
            for found, longest in _results(workers, seeds, arguments.seconds):
                outcomes += found
                slowest = max(slowest, longest)
        except AssertionError as error:
            workers.shutdown(cancel_futures=True)
            print(error, file=sys.stderr)
            return 1
    print(
        f"{outcomes.total():,} inputs from seed {seed} in {time.monotonic() - began:.0f} s; "
        f"the slowest took {slowest:.2f} s"
    )
    for outcome, number in outcomes.most_common():
        print(f"{number:>12,}  {outcome}")
    return 0


def _results(
    workers: ProcessPoolExecutor, seeds: Iterator[int], seconds: float | None
) -> Iterator[tuple[Counter[str], float]]:
    """Yield the results of chunks, of which no more than two per process wait."""
    deadline = None if seconds is None else time.monotonic() + seconds
    waiting = [workers.submit(check_chunk, seed) for seed in islice(seeds, 4)]
    while waiting:
        yield waiting.pop(0).result()
        if deadline is None or time.monotonic() < deadline:
            waiting += [workers.submit(check_chunk, seed) for seed in islice(seeds, 1)]


if __name__ == "__main__":
    sys.exit(main())
