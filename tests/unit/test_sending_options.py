"""The producer's command line: contradictions are refused with a sentence."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from clickstream.errors import UsageError
from clickstream.sending import options
from clickstream.sending.arguments import SETTING_OPTIONS
from clickstream.sending.options import Options
from clickstream.settings import Settings
from clickstream.simulator.event_json import SECOND

NOW = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the default settings."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.__slots__:
        monkeypatch.delenv(name.upper(), raising=False)


def read(*arguments: str) -> Options:
    return options.read_options(arguments, NOW)[0]


def test_without_options_traffic_is_live_and_unlimited() -> None:
    asked = read()
    assert (asked.profile, asked.events, asked.backfill, asked.speed) == ("shop", None, None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--speed", "2"), "--speed needs --backfill or --replay"),
        (("--strict",), "--strict needs --replay"),
        (("--map", "user_id=visitor"), "--map needs --replay"),
        (("--map-types", "page_view=view"), "--map-types needs --replay"),
        (("--until", "2025-06-01T00:00:01Z"), "--until must not be in the future"),
        (("--backfill", "40000d"), "before 1970"),
        (("--until", "1970-01-01T01:00:00Z", "--backfill", "1h", "--skew", "1"), "before 1970"),
        (("--backfill", "1s", "--events", "250001"), "250001 events do not fit"),
        (("--backfill", "1d", "--events", "5", "--rate", "5"), "either --events"),
        (("--replay", ""), "--replay needs the name of a file"),
        (("--replay", "x", "--speed", "1", "--rate", "5"), "either --rate or --speed"),
        (("--replay", "x", "--backfill", "1d"), "--backfill is for simulated traffic"),
        (("--replay", "x", "--truth", "t.json"), "--truth is for simulated traffic"),
        (("--replay", "x", "--late", "0.1"), "--late is for simulated traffic"),
        (("--skew", "3600"), "--skew must be below MAX_FUTURE_SECONDS"),
        (("--target-active-users", "0"), "TARGET_ACTIVE_USERS must be a whole number"),
    ],
)
def test_contradictions_are_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--events", "0"),
        ("--events", "many"),
        ("--rate", "0"),
        ("--rate", "1e9"),
        ("--late", "1.1"),
        ("--late", "nan"),
        ("--backfill", "7"),
        ("--backfill", "0d"),
        ("--until", "tomorrow"),
        ("--skew", "-1"),
        ("--profile", "bank"),
        ("--map", "visitor=user_id"),
        ("--map", "user_id"),
        ("--map-types", "page_view=view; purchase=view"),
    ],
)
def test_invalid_values_exit_with_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read(*arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("90m", 5400), ("36h", 129_600), ("1.5d", 129_600)]
)
def test_lengths_of_time_have_a_unit(text: str, seconds: int) -> None:
    assert read("--backfill", text).backfill == seconds * SECOND


def test_a_recording_can_be_sent_in_part_and_at_a_rate() -> None:
    asked = read("--replay", "x", "--events", "5", "--rate", "5")
    assert (asked.events, asked.rate, asked.is_live) == (5, 5.0, False)


def test_a_time_without_a_zone_is_utc() -> None:
    assert read("--until", "2025-01-01T00:00:00.25").until == 1_735_689_600_250_000
    assert read("--until", "2025-01-01T01:00:00+01:00").until == 1_735_689_600_000_000


def test_an_option_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_ACTIVE_USERS", "7")
    monkeypatch.setenv("NUM_EVENTS", "9")
    assert options.read_options((), NOW)[1].target_active_users == 7
    assert options.read_options(("--target-active-users", "8"), NOW)[1].target_active_users == 8
    assert read().events == 9
    assert read("--events", "10").events == 10
    assert read("--events", "-1").events is None


def test_num_events_does_not_limit_a_recording(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NUM_EVENTS", "9")
    assert read("--replay", "x").events is None
    assert read("--replay", "x", "--events", "3").events == 3
    assert read("--replay", "x", "--events", "-1").events is None


def test_the_help_shows_meaning_and_default_of_each_setting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        read("--help")
    shown = " ".join(capsys.readouterr().out.split())
    for name, meaning in SETTING_OPTIONS.items():
        default = Settings.__dataclass_fields__[name].metadata["default"]
        assert f"{meaning} (default: {default})" in shown
