"""Bytes of a record as lines for a terminal: text, or a hex dump in the form of xxd."""

import re

from clickstream.untrusted_text import clean

DUMPED_BYTES = 16
HEX_WIDTH = 39

# Text has no other control characters than tab, line feed and carriage return. A schema registry
# frame begins with byte 0.
_has_binary_bytes = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]").search


def bytes_lines(value: bytes) -> list[str]:
    """Return the lines of a text, with bytes that are not UTF-8 escaped, or of a hex dump.

    A line of a hex dump has up to 67 characters.
    """
    if _has_binary_bytes(value):
        return [_dump(value, offset) for offset in range(0, len(value), DUMPED_BYTES)]
    text = value.decode("utf-8", "backslashreplace")
    return [clean(line.expandtabs(4)) for line in re.split(r"\r?\n", text)]


def _dump(value: bytes, offset: int) -> str:
    """Return the offset, the bytes in hex, and as ASCII with a dot for all others."""
    part = value[offset : offset + DUMPED_BYTES]
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
    return f"{offset:08x}: {part.hex(' ', -2):<{HEX_WIDTH}}  {text}"
