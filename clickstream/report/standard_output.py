"""Characters that standard output can print, and substitutes if its encoding lacks them."""

import codecs
import os
import sys
from collections.abc import Mapping

LEVELS = "▁▂▃▄▅▆▇█"
BARS = f"━╸{LEVELS}"
ELLIPSIS = "…"
# The categories of the locale, the strongest first.
LOCALE_VARIABLES = ("LC_ALL", "LC_CTYPE", "LANG")
# Python sets LC_CTYPE to one of these in the locale C, to be able to print other texts.
COERCED_LOCALES = ("C.UTF-8", "C.utf8", "UTF-8")


def prepare_stdout() -> None:
    """Make standard output print any text, whatever its encoding.

    A character that the encoding lacks is printed as "?", and an ellipsis as "~". In a terminal
    with the locale C the encoding is ASCII: Python itself would print UTF-8 there.
    """
    codecs.register_error("substitute", _substitute)
    is_ascii = sys.stdout.isatty() and has_ascii_locale(os.environ)
    sys.stdout.reconfigure(  # type: ignore[union-attr]
        encoding="ascii" if is_ascii else None, errors="substitute"
    )


def is_screen() -> bool:
    """Return True if standard output is a terminal that can be drawn on at any place."""
    return sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def has_ascii_locale(environment: Mapping[str, str]) -> bool:
    """Return True if the user chose the locale C, and no encoding for Python."""
    if environment.get("PYTHONIOENCODING") or environment.get("PYTHONUTF8") == "1":
        return False
    values = [environment.get(name, "") for name in LOCALE_VARIABLES]
    if values[1] in COERCED_LOCALES:
        values[1] = ""
    return next(filter(None, values), "") in ("C", "POSIX")


def can_draw(encoding: str) -> bool:
    """Return True if an encoding has the characters of bars."""
    try:
        BARS.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join("~" if each == ELLIPSIS else "?" for each in lacking), error.end
