"""The tables hold exactly the sessions and counts of the producer's truth file."""

import signal
from pathlib import Path

import pytest

from clickstream.clients.postgres import connect
from clickstream.settings import Settings
from clickstream.verify.truth_comparison import compare_with_truth
from tests.services.scripts import RunScript, StartScript

PAST = ("--backfill", "2d", "--seed", "7")
FAULTS = ("--late", "0.05", "--duplicate", "0.03", "--malformed", "0.02", "--skew", "600")


def differences(settings: Settings, truth: Path) -> list[str]:
    connection = connect(settings, application="test")
    try:
        return compare_with_truth(connection, truth).differences.first
    finally:
        connection.close()


LOGINS = {"SESSION_START_EVENTS": "login", "SESSION_END_EVENTS": "logout"}
RULE = {"SESSION_TIMEOUT_SECONDS": "60", "SESSION_START_EVENTS": "login"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "rule"),
    [
        pytest.param((), {}, id="no faults"),
        pytest.param(FAULTS, {}, id="faults"),
        pytest.param((*FAULTS, "--unkeyed"), {}, id="faults, unkeyed"),
        pytest.param((*FAULTS, "--profile", "news"), {}, id="faults, news"),
        pytest.param(FAULTS, LOGINS, id="faults, sessions from login to logout"),
        pytest.param(FAULTS, RULE | {"SESSION_END_EVENTS": "share"}, id="faults, another rule"),
    ],
)
def test_the_consumer_stores_what_the_truth_file_says(
    run_script: RunScript,
    settings: Settings,
    tmp_path: Path,
    options: tuple[str, ...],
    rule: dict[str, str],
) -> None:
    truth = tmp_path / "truth.json"
    asked = ("--events", "3000", *PAST, *options, "--truth", str(truth))
    sent = run_script("producer.py", *asked, **rule)
    assert sent.returncode == 0, sent.stderr
    stored = run_script("consumer.py", "--drain", **rule)
    assert stored.returncode == 0, stored.stderr
    assert differences(settings, truth) == []


def test_the_truth_file_is_right_for_live_traffic_after_ctrl_c(
    run_script: RunScript, start_script: StartScript, settings: Settings, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.json"
    asked = ("--rate", "500", *FAULTS, "--unkeyed", "--truth", str(truth))
    producer = start_script("producer.py", *asked, **LOGINS)
    producer.wait_for_output("acknowledged")
    producer.send_signal(signal.SIGINT)
    assert producer.wait() == 0
    stored = run_script("consumer.py", "--drain", **LOGINS)
    assert stored.returncode == 0, stored.stderr
    assert differences(settings, truth) == []
