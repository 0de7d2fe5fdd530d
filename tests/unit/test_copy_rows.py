"""Rows for COPY."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from clickstream.storage.copy_rows import csv_rows
from tests.unit.storable_event import values_of_line

texts = st.text(
    st.sampled_from('ab,"\\nrtu01[]\n\r\t\x01\x1f\x7f\u2028\u00e9\U0001f600')
) | st.just("null")
rows_of_three = st.lists(st.tuples(texts, st.none() | texts, texts), max_size=4)


@given(st.tuples(texts, st.none() | texts, texts))
def test_copy_reads_texts_as_they_are(row: tuple[str, str | None, str]) -> None:
    assert values_of_line(csv_rows([row]).decode()) == list(row)


@given(rows_of_three)
def test_a_row_does_not_depend_on_the_rows_beside_it(
    rows: list[tuple[str, str | None, str]],
) -> None:
    assert csv_rows(rows) == b"\n".join(csv_rows([row]) for row in rows)


def test_values_that_are_no_texts_are_written_as_postgresql_reads_them() -> None:
    time = datetime(24, 5, 1, 12, 0, 0, 120, tzinfo=UTC)
    assert csv_rows([(time, Decimal("-1E+2"), 10**18, True, None)]) == (
        b'"0024-05-01T12:00:00.000120Z","-1E+2",1000000000000000000,true,null'
    )
