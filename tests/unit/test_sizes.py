"""Sizes in bytes as text."""

import pytest

from clickstream.doctor.sizes import format_bytes


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (999.7, "1.0 kB"),
        (9_940, "9.9 kB"),
        (9_960, "10 kB"),
        (338_400_000, "338 MB"),
        (999_600_000, "1.0 GB"),
        (4_512_000_000, "4.5 GB"),
        (1_234 * 10**12, "1,234 TB"),
    ],
)
def test_a_size_has_its_largest_unit(number: float, text: str) -> None:
    assert format_bytes(number) == text
