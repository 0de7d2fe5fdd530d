"""Files that a command generates: written atomically, with mode 0600, and with an owner.

The first line names the command that wrote the file, its owner. A file of another owner, or one
made by hand, is replaced only with `force`, and then a backup is kept.
"""

import os
import tempfile
from itertools import count
from pathlib import Path

from clickstream.errors import UserError

OWNER = "# Written by: "


def check_writable(path: Path, written_by: str, force: bool) -> None:
    """Raise UserError if `write_file` would refuse to write to this path."""
    if path.is_dir():
        raise UserError(f"{path} is a folder, so the file cannot be written; rename the folder")
    if force or not path.exists():
        return
    author = owner(path)
    if author != written_by:
        author = f"the command {author}" if author else "hand"
        raise UserError(
            f"{path} was written by {author} and was not changed; "
            f"move it away, or replace it and keep a backup with: {written_by} --force"
        )


def owner(path: Path) -> str | None:
    """Return the command that the first line names, or None for a file made by hand."""
    try:
        first = next(iter(text_lines(path)), "")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return first.removeprefix(OWNER) if first.startswith(OWNER) else None


def text_lines(path: Path) -> list[str]:
    """Return the lines of a file; bytes that are not UTF-8 become surrogates."""
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def write_file(path: Path, text: str, written_by: str, force: bool = False) -> Path | None:
    """Write the owner's line and the text to a file; return the path of the backup, if any.

    written_by: the command, e.g. "python -m clickstream env".
    Raises UserError if the file has another owner and not `force`, or cannot be written.
    """
    check_writable(path, written_by, force)
    try:
        foreign = path.exists() and owner(path) != written_by
        backup = back_up(path) if foreign else None
        replace_file(path, f"{OWNER}{written_by}\n{text}")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    return backup


def back_up(path: Path) -> Path:
    """Copy a file to a new name in its folder, with mode 0600, and return that path."""
    for number in count(1):
        backup = path.with_name(f"{path.name}.backup-{number}")
        try:
            descriptor = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with open(descriptor, "wb") as file:
            file.write(path.read_bytes())
        return backup
    raise AssertionError("count() has no end")


def replace_file(path: Path, text: str) -> None:
    """Write a file atomically, with mode 0600: readers see the old text or the new one."""
    # The temporary name begins with the file's name, so that .gitignore covers it too.
    descriptor, temporary = tempfile.mkstemp(
        prefix=f"{path.name}.", dir=path.parent
    )  # with mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
