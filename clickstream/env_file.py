"""Writing `.env`: one owner per file, nothing lost, nobody else can read it.

The first line names the command that wrote the file. Only that command writes it again without
being forced, and it replaces its own values only: lines that a person added stay.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from clickstream.errors import UserError
from clickstream.files import OWNER, back_up, check_writable, owner, replace_file, text_lines

__all__ = ["check_writable", "warn_if_overruled", "write_env_file"]

_NOTE = "# It replaces its own values each time it runs; lines that you add stay."
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./:@,+-]*")


def write_env_file(
    path: Path, values: Mapping[str, str], written_by: str, force: bool = False
) -> Path | None:
    """Write variable names and values to `path` at once (mode 0600), or leave it untouched.

    written_by: the command, e.g. "python -m clickstream env". A file of another author is
    replaced only with `force`; the backup that is kept then is returned.
    Raises UserError when the file belongs to somebody else or cannot be written.
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


def warn_if_overruled(
    path: Path, values: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    """Tell on stderr which of the values that were written the environment beats."""
    others = [name for name, value in values.items() if environment.get(name, value) != value]
    if others:
        print(
            f"warning: the environment sets {', '.join(others)}, which beats {path}: "
            "the scripts will use other servers; unset it",
            file=sys.stderr,
        )


def _quoted(name: str, value: str) -> str:
    """The value as python-dotenv reads it."""
    if any(character in value for character in "\r\n\0"):
        raise UserError(f"the value of {name} has a line break or a NUL in it; .env cannot hold it")
    if _PLAIN_VALUE.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _merged(lines: list[str], assignments: Mapping[str, str]) -> list[str]:
    """The lines with the given assignments in place of older ones, new ones at the end."""
    waiting = dict(assignments)
    merged = []
    for line in lines:
        found = _ASSIGNMENT.match(line)
        if found is None or found[1] not in assignments:
            merged.append(line)
        elif found[1] in waiting:
            merged.append(waiting.pop(found[1]))
    return merged + list(waiting.values())
