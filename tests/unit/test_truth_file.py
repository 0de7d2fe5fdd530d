"""A truth file is read as JSON, however it is laid out; anything else is refused."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.errors import UserError
from clickstream.verify import truth_file
from clickstream.verify.truth_file import TruthReader, TruthTotals
from tests.truth_layouts import TRUTH_LAYOUTS

SESSION = {"user_id": "a", "total_events": 3, "unique_pages": ["/", "/ü"], "country": None}
TRUTH = {
    "version": 1,
    "rule": {"timeout_seconds": 1800, "start_events": ["login"], "end_events": []},
    "events": 9,
    "duplicates": 2,
    "rejected": {"not_json": 4},
    "sessions": [SESSION | {"total_events": number} for number in range(3)],
}


def read(content: bytes) -> tuple[TruthTotals, list[Any]]:
    reader = TruthReader(BytesIO(content), "truth.json")
    sessions = [session for part in reader.sessions() for session in part]
    return reader.totals(), sessions


@pytest.mark.parametrize("layout", TRUTH_LAYOUTS.values(), ids=TRUTH_LAYOUTS)
@given(chunk_bytes=st.integers(1, 1_000))
def test_every_layout_reads_the_same(chunk_bytes: int, layout: Callable[[Any], str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truth_file, "TRUTH_CHUNK_BYTES", chunk_bytes)
        totals, sessions = read(layout(TRUTH).encode())
    assert sessions == TRUTH["sessions"]
    assert (totals.events, totals.duplicates, totals.rejected) == (9, 2, {"not_json": 4})
    assert totals.rule.timeout.total_seconds() == 1800
    assert totals.rule.start_events == {"login"}


@pytest.mark.parametrize("layout", TRUTH_LAYOUTS.values(), ids=TRUTH_LAYOUTS)
def test_a_truncated_file_is_refused(layout: Callable[[Any], str]) -> None:
    content = layout(TRUTH).encode()
    for length in range(len(content)):
        with pytest.raises(UserError, match=r"truth\.json is not a complete truth file"):
            read(content[:length])


@pytest.mark.parametrize(
    "change",
    [
        {"rule": 5},
        {"rule": {"timeout_seconds": 1800, "start_events": [[]], "end_events": []}},
        {"events": "9"},
        {"rejected": {"not_json": "4"}},
        {"sessions": [5]},
        {"sessions": [{"total_events": 1}]},
        {"sessions": [SESSION | {"total_events": 2**70}]},
        {"sessions": []},
        {"sessions": {"1": SESSION}},
    ],
)
def test_a_member_of_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"truth\.json is not a complete truth file"):
        read(json.dumps(TRUTH | change).encode())


@pytest.mark.parametrize("name", TRUTH)
def test_a_missing_member_is_refused(name: str) -> None:
    truth = {key: value for key, value in TRUTH.items() if key != name}
    with pytest.raises(UserError, match=r"truth\.json is not a complete truth file"):
        read(json.dumps(truth).encode())


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{} {}", b"{}", b"5", b"\xff\xfe{}", b"a,b\n1,2\n"]
)
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match=r"truth\.json is not a complete truth file"):
        read(content)


def test_another_version_is_named() -> None:
    with pytest.raises(UserError, match="of version 2; this program reads version 1"):
        read(json.dumps(TRUTH | {"version": 2}).encode())
