"""Text that visitors sent: made harmless before a person's terminal sees it."""

import unicodedata

# Control, format (bidirectional overrides, zero-width), surrogate, unassigned and private-use
# characters, line and paragraph separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str) -> str:
    """The text with every character replaced that could steer a terminal or hide itself."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        REPLACEMENT if unicodedata.category(character) in _HIDDEN else character
        for character in text
    )


def clip(text: str, width: int) -> str:
    """The text made harmless, and cut to a number of characters."""
    harmless = clean(text[: width + 1])
    return harmless if len(harmless) <= width else f"{harmless[: width - 1]}…"
