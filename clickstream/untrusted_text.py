"""Text that visitors sent, made safe to print in a terminal."""

import unicodedata

# Control, format (bidirectional overrides, zero-width), surrogate, unassigned and private-use
# characters, line and paragraph separators.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str) -> str:
    """Replace every character that could control a terminal or is invisible.

    The result has the length of the text.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        REPLACEMENT if unicodedata.category(character) in _UNSAFE_CATEGORIES else character
        for character in text
    )


def clip(text: str, width: int) -> str:
    """Clean a text and cut it to `width` characters; a cut text ends with an ellipsis."""
    safe = clean(text[: width + 1])
    return safe if len(safe) <= width else f"{safe[: width - 1]}…"
