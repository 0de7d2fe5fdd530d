"""`.env` files: reading them, and writing them without losing the lines that a person added."""

import codecs
import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from clickstream.errors import UsageError, UserError
from clickstream.generated_files import (
    OWNER,
    back_up,
    check_writable,
    owner,
    replace_file,
    text_lines,
)

__all__ = ["check_writable", "read_env_file", "write_env_file"]

_NOTE = "# Each run of it replaces its own values; lines that you add are kept."
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./:@,+-]*")


def read_env_file(path: Path) -> dict[str, str]:
    """Return variable names and values; values are not interpolated.

    Raises UsageError with the line if the file is not UTF-8 or a line is not an assignment.
    """
    bindings = list(parse_stream(StringIO(_read_text(path))))
    for binding in bindings:
        if binding.error:
            raise UsageError(
                f"line {_line(binding)} of {path} is not NAME=value; correct it, or put # before it"
            )
    return {each.key: each.value for each in bindings if each.key and each.value is not None}


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; check its permissions") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(
            f"line 1 of {path} is not UTF-8 but UTF-16, which PowerShell writes by default; save "
            "the file as UTF-8"
        )
    wrong, text = data.find(b"\0"), ""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong = error.start
    if wrong >= 0:
        line = data.count(b"\n", 0, wrong) + 1
        raise UsageError(f"line {line} of {path} is not UTF-8 text; save the file as UTF-8")
    return text


def _line(binding: Binding) -> int:
    """Return the line of a binding, whose text begins with the empty lines before it."""
    text = binding.original.string
    return int(binding.original.line) + text[: len(text) - len(text.lstrip())].count("\n")


def write_env_file(
    path: Path, values: Mapping[str, str], written_by: str, force: bool = False
) -> Path | None:
    """Write settings to a file; return the path of the backup, if any.

    values: variable name to value. In a file that the same command wrote earlier, the other lines
    are kept. The rest is as with `write_file`.
    """
    check_writable(path, written_by, force)
    assignments = {name: f"{name}={_quoted(name, value)}" for name, value in values.items()}
    try:
        own = path.exists() and owner(path) == written_by
        backup = back_up(path) if path.exists() and not own else None
        old = text_lines(path) if own else [OWNER + written_by, _NOTE]
        replace_file(path, "\n".join(_merged(old, assignments)) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    return backup


def _quoted(name: str, value: str) -> str:
    """Return the value in the syntax of python-dotenv."""
    if any(character in value for character in "\r\n\0"):
        raise UserError(
            f"the value of {name} contains a line break or a NUL, which .env cannot hold"
        )
    if _PLAIN_VALUE.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _merged(lines: list[str], assignments: Mapping[str, str]) -> list[str]:
    """Return the lines with the assignments in place of earlier ones, and new ones at the end."""
    waiting = dict(assignments)
    merged = []
    for line in lines:
        found = _ASSIGNMENT.match(line)
        if found is None or found[1] not in assignments:
            merged.append(line)
        elif found[1] in waiting:
            merged.append(waiting.pop(found[1]))
    return merged + list(waiting.values())
