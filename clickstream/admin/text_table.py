"""Tables of plain text for a terminal."""

from collections.abc import Sequence


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line of headings and a line for each row, with columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in [headings, *rows]
    ]
