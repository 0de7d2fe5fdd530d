"""The health of a consumer: alive while its loop advances."""

from clickstream.consumer.health import HANGING_SECONDS, Health


def test_a_consumer_is_alive_until_its_loop_hangs_and_again_when_it_advances() -> None:
    now = 0.0
    health = Health(lambda: now)
    assert health.is_alive
    now = HANGING_SECONDS - 1
    assert health.is_alive
    now = HANGING_SECONDS
    assert not health.is_alive
    health.advance()
    assert health.is_alive
