"""Nouns after a number."""

from clickstream.consumer.counters import Counters
from clickstream.plurals import plural


def test_a_noun_after_one_has_no_s() -> None:
    assert [plural(number, "record") for number in (0, 1, 2)] == ["records", "record", "records"]


def test_the_last_line_of_a_consumer_says_one_record() -> None:
    counters = Counters()
    counters.records_by_partition[0] = 1
    assert str(counters) == "1 record: 1 stored"
