"""Facts for a terminal: texts after labels, in lines of at most 80 columns."""

from collections.abc import Iterator
from textwrap import wrap

from clickstream.untrusted_text import clean

LINE_WIDTH = 80
LABEL_WIDTH = 10


def fact(label: str, text: str) -> Iterator[str]:
    """Yield a text after its label; further lines of it are indented."""
    for number, line in enumerate(wrap(clean(text), LINE_WIDTH - LABEL_WIDTH)):
        yield f"{'' if number else label:<{LABEL_WIDTH}}{line}"


def sentence(text: str) -> list[str]:
    """Return a sentence in lines of at most LINE_WIDTH."""
    return wrap(clean(text), LINE_WIDTH)
