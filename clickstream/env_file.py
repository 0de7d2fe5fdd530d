"""Writing `.env` for a command, which keeps the lines that a person added."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from clickstream.errors import UserError
from clickstream.generated_files import (
    OWNER,
    back_up,
    check_writable,
    owner,
    replace_file,
    text_lines,
)

__all__ = ["check_writable", "warn_if_overruled", "write_env_file"]

_NOTE = "# Each run of it replaces its own values; lines that you add are kept."
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./:@,+-]*")


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


def warn_if_overruled(
    path: Path, values: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    """Warn on stderr of environment variables that override the written values."""
    others = [name for name, value in values.items() if environment.get(name, value) != value]
    if others:
        print(
            f"warning: the environment sets {', '.join(others)} and overrides {path}: "
            "the scripts will use other servers; unset the variables",
            file=sys.stderr,
        )


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
