"""Differences found by a check: all are counted, and the first ones are kept as sentences."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from clickstream.untrusted_text import clean, clip

KEPT_DIFFERENCES = 20
VALUE_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Differences:
    """Differences found by a check.

    number: all of them. first: at most KEPT_DIFFERENCES, one sentence each, as found.
    """

    number: int
    first: list[str]

    def plus(self, other: "Differences") -> "Differences":
        """Return these differences and others."""
        return Differences(
            self.number + other.number, [*self.first, *other.first][:KEPT_DIFFERENCES]
        )

    def lines(self) -> list[str]:
        """Return the first differences and the number of all, safe to print in a terminal."""
        shown = [f"- {clean(sentence)}" for sentence in self.first]
        if self.number > len(self.first):
            shown.append(f"... and {self.number - len(self.first):,} more")
        noun = "difference" if self.number == 1 else "differences"
        return [*shown, f"{self.number:,} {noun} found."]


def collect(sentences: Iterable[str]) -> Differences:
    """Count the differences that a check yields, in bounded memory."""
    first: list[str] = []
    number = 0
    for number, sentence in enumerate(sentences, 1):
        if number <= KEPT_DIFFERENCES:
            first.append(sentence)
    return Differences(number, first)


def different_fields(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Name each field that differs with both values: 'total_events is 4, not 3; country is ...'.

    A field that one side lacks counts as null.
    """
    names = [*expected, *(name for name in found if name not in expected)]
    return "; ".join(
        f"{name} is {value_text(found.get(name))}, not {value_text(expected.get(name))}"
        for name in names
        if found.get(name) != expected.get(name)
    )


def value_text(value: object) -> str:
    """Return a value as JSON, safe to print and cut to VALUE_CHARACTERS."""
    text = str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
    return clip(text, VALUE_CHARACTERS)
