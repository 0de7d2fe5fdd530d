"""The warning if several consumers store the same visitors."""

from types import SimpleNamespace
from typing import Any

import pytest

from clickstream.consumer.batch import Batch, ParsedBatch
from clickstream.consumer.key_watch import KeyWatch
from clickstream.model.reading import NATIVE_READING
from clickstream.storage.outcomes import DUPLICATE
from tests.unit.parsing import event_with


def batch(*keys: bytes | None) -> ParsedBatch:
    """Return a batch with an event of visitor v7 for each key, after a record without an event."""
    records: list[Any] = [
        SimpleNamespace(partition=2, offset=offset, key=key)
        for offset, key in enumerate((b"", *keys))
    ]
    return ParsedBatch(
        Batch({}, {}),
        NATIVE_READING,
        records,
        [DUPLICATE, *(event_with(user_id="v7") for _ in keys)],
    )


@pytest.mark.parametrize(
    ("keys", "cause"),
    [
        ([b"v7", b"/page"], "(the key of a record is not its user_id: partition 2, offset 2)"),
        ([None], "(the key of a record is not its user_id: partition 2, offset 1)"),
        ([b"v7", b"v7"], "(records of one visitor are in several partitions)"),
    ],
)
def test_a_conflict_is_a_warning_that_names_the_cause_once(
    keys: list[bytes | None], cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    watch = KeyWatch()
    for _ in range(2):
        watch.observe_conflict(batch(*keys))
    (message,) = caplog.messages
    assert cause in message
    assert "v7" not in message
