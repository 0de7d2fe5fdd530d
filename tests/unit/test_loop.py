"""The consumer's loop while a batch takes long to parse."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from clickstream.clients.record_batch import Record
from clickstream.consumer import loop
from clickstream.consumer.batch import RECORDS_PER_PAUSE, Batch
from clickstream.consumer.loop import Loop
from clickstream.consumer.metrics import Metrics
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
    stream: Any = SimpleNamespace(
        has_new_assignment=False,
        changed=True,
        read=lambda _: Batch({0: records}, {0: len(records)}),
        heartbeat=lambda: sent.append(None),
    )
    metrics, user_agents = Metrics(clock), NewUserAgents()
    started = Loop(Settings.from_mapping({}), Stop(), None, clock, None, metrics, user_agents)
    started.step(stream)
    started.close(None)
    assert len(sent) == heartbeats
