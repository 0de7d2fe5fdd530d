"""Capacity model: what a rate of events needs. It prints the table of scaling.md.

Run it from the project's folder: python docs/capacity.py

The measured figures are those of bench/results.md on two cores; the others are choices.
"""

from math import ceil
from typing import NamedTuple

RATES = (100, 1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)

# Measured: CPU microseconds per event, of 100,000 visitors. PostgreSQL: with eight million events
# in the table. Flink: the plain job with all metrics; the job of flink/, which also looks for
# duplicates, needs more.
CONSUMER_MICROSECONDS = 30
POSTGRES_MICROSECONDS = 35
FLINK_MICROSECONDS = 173
# Measured: bytes per event, of simulated visitors, with indexes and the event's part of a session.
POSTGRES_BYTES = 480 + 70
WRITE_AHEAD_LOG_BYTES = 670
OPENSEARCH_BYTES = 315 + 30

# Chosen: the share of a core that is planned for, so that a backlog is caught up.
UTILISATION = 0.6
# Chosen: a partition is read by one consumer or one Flink slot; twice as many leave room to grow.
PARTITIONS_PER_READER = 2
# Chosen: what one PostgreSQL takes day and night: cores for writing, bytes of its log per second.
MOST_POSTGRES_CORES = 8
MOST_LOG_BYTES = 100e6
SECONDS_OF_A_DAY = 86_400


class Need(NamedTuple):
    """The resources for one rate. Bytes are per day, except those of the log."""

    rate: int
    partitions: int
    consumers: int
    flink_slots: int
    postgres_cores: int
    log_bytes_per_second: float
    postgres_bytes: float
    opensearch_bytes: float
    fits_postgres: bool


def need(rate: int) -> Need:
    """Return what a rate of events per second needs."""
    consumers = _cores(rate, CONSUMER_MICROSECONDS)
    flink_slots = _cores(rate, FLINK_MICROSECONDS)
    postgres_cores = _cores(rate, POSTGRES_MICROSECONDS)
    log = rate * WRITE_AHEAD_LOG_BYTES
    fits_postgres = postgres_cores <= MOST_POSTGRES_CORES and log <= MOST_LOG_BYTES
    readers = consumers if fits_postgres else flink_slots
    a_day = rate * SECONDS_OF_A_DAY
    return Need(
        rate,
        6 * ceil(readers * PARTITIONS_PER_READER / 6),
        consumers,
        flink_slots,
        postgres_cores,
        log,
        a_day * POSTGRES_BYTES,
        a_day * OPENSEARCH_BYTES,
        fits_postgres,
    )


def table() -> str:
    """Return the needs of all rates as a Markdown table."""
    header = (
        "events/s", "partitions", "consumers", "or Flink slots", "PostgreSQL cores",
        "its log, MB/s", "PostgreSQL, GB/day", "OpenSearch, GB/day", "rows are kept in",
    )  # fmt: skip
    rows = [header, ("---:",) * 8 + ("---",), *(_row(need(rate)) for rate in RATES)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cores(rate: int, microseconds: int) -> int:
    return ceil(rate * microseconds / 1e6 / UTILISATION)


def _row(each: Need) -> tuple[str, ...]:
    return (
        f"{each.rate:,}",
        str(each.partitions),
        str(each.consumers) if each.fits_postgres else "",
        str(each.flink_slots),
        str(each.postgres_cores) if each.fits_postgres else "",
        f"{each.log_bytes_per_second / 1e6:,.1f}" if each.fits_postgres else "",
        f"{each.postgres_bytes / 1e9:,.1f}" if each.fits_postgres else "",
        f"{each.opensearch_bytes / 1e9:,.1f}",
        "PostgreSQL" if each.fits_postgres else "Iceberg or ClickHouse",
    )


if __name__ == "__main__":
    print(table())
