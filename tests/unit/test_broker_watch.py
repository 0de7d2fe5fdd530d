"""The warning while Kafka does not answer."""

import logging

import pytest

from clickstream.consumer.broker_watch import SILENT_SECONDS, BrokerWatch


def observe(*observations: tuple[float, float | None]) -> None:
    """Show a watch observations, each as its time and the time of Kafka's last answer."""
    times = iter([0.0, *(now for now, _ in observations)])
    watch = BrokerWatch("Kafka at k:9092", lambda: next(times))
    for _, answered_at in observations:
        watch.observe(answered_at)


@pytest.mark.parametrize("last_answer", [0.5, None])
def test_a_silent_kafka_is_named_once_and_again_when_it_answers(
    last_answer: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    silence = [(seconds, last_answer) for seconds in range(2, 30, 4)]
    observe((1, 0.5), *silence, (30, 29.5))
    assert caplog.messages == [
        f"Kafka at k:9092 has not answered for {SILENT_SECONDS:.0f} s; reading continues by itself "
        "when it answers",
        "Kafka at k:9092 answers again",
    ]


def test_a_kafka_that_answers_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    observe(*((seconds, seconds - 0.5) for seconds in range(1, 30, 5)))
    assert caplog.messages == []


def test_a_pause_of_this_process_is_no_silence_of_kafka(caplog: pytest.LogCaptureFixture) -> None:
    observe((1, 0.5), (60, 0.5), (61, 60.5))
    assert caplog.messages == []
