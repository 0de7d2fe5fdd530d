"""Databases that earlier versions of the program filled: tests/data/README.md says how."""

import gzip
import json
from pathlib import Path

from clickstream.storage.schema import DROP_ALL
from tests.services.databases import Query

DATA = Path(__file__).parents[1] / "data"
VERSIONS = (1, 2, 3, 4, 5)
PARTITIONS = 2

# Partition and offset of a record.
Place = tuple[int, int]


def topic(version: int) -> str:
    """Return the topic that a version read; the ids of events without event_id depend on it."""
    return f"version-{version}-events"


def load(query: Query, version: int) -> None:
    """Make the test's database one of this schema version."""
    query(DROP_ALL)
    with gzip.open(DATA / f"version_{version}" / "database.sql.gz", "rt", encoding="utf-8") as file:
        query(file.read())


def records(version: int) -> dict[Place, bytes | None]:
    """Return the values of the records that a version read, by partition and offset."""
    found: dict[Place, bytes | None] = {}
    offsets = [0] * PARTITIONS
    with gzip.open(DATA / f"version_{version}" / "records.ndjson.gz", "rt") as file:
        for each in map(json.loads, file):
            partition = each["partition"]
            value = each["value"]
            found[partition, offsets[partition]] = None if value is None else bytes.fromhex(value)
            offsets[partition] += 1
    return found
