"""The consumer's loop while a batch takes long to parse."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from clickstream.clients.record_batch import Record
from clickstream.consumer import loop
from clickstream.consumer.batch import RECORDS_PER_PAUSE, Batch
from clickstream.consumer.database import Database
from clickstream.consumer.new_user_agents import NewUserAgents
from clickstream.settings import Settings
from clickstream.signals import Stop


def clock() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(("seconds", "heartbeats"), [(0.0, 3), (60.0, 0)])
def test_heartbeats_are_sent_while_a_batch_takes_long_to_parse(
    seconds: float, heartbeats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one for 30 s Kafka gives the partitions to another consumer, and then back."""
    monkeypatch.setattr(loop, "HEARTBEAT_SECONDS", seconds)
    records = [
        Record("t", 0, offset, 0, None, b"{}") for offset in range(2 * RECORDS_PER_PAUSE + 1)
    ]
    sent: list[None] = []
    stream: Any = SimpleNamespace(heartbeat=lambda: sent.append(None))
    database = Database(Settings.from_mapping({}), Stop(), clock, NewUserAgents())
    loop.parse(Batch({0: records}, {0: len(records)}), database, stream)
    assert len(sent) == heartbeats
