"""Nouns after a number."""


def plural(number: int, noun: str) -> str:
    """Return the noun for a number: "record" after 1, else "records"."""
    return noun if number == 1 else f"{noun}s"
