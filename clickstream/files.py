"""Files with credentials: one owner per file, replaced at once, readable by the user only.

The first line names the command that wrote the file; no other command replaces it, and none a file
made by hand, unless it is forced to, and then a backup is kept.
"""

import os
import tempfile
from itertools import count
from pathlib import Path

from clickstream.errors import UserError

OWNER = "# Written by: "


def check_writable(path: Path, written_by: str, force: bool) -> None:
    """Raise UserError where writing would be refused, before anything else is done."""
    if path.is_dir():
        raise UserError(f"{path} is a folder, so no file can be written there; rename it")
    if force or not path.exists():
        return
    author = owner(path)
    if author != written_by:
        author = f"`{author}`" if author else "hand"
        raise UserError(
            f"{path} was written by {author} and is left as it is; "
            f"move it away, or run `{written_by} --force`, which keeps a backup beside it"
        )


def owner(path: Path) -> str | None:
    """The command that the first line names; None for a file made by hand."""
    try:
        first = next(iter(text_lines(path)), "")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return first.removeprefix(OWNER) if first.startswith(OWNER) else None


def text_lines(path: Path) -> list[str]:
    """Its lines, with bytes that are not UTF-8 kept as surrogates."""
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def write_file(path: Path, text: str, written_by: str, force: bool = False) -> Path | None:
    """Write a line that names the owner, and the text, to `path` at once (mode 0600).

    A file of another author is replaced only with `force`; the backup that is kept then is
    returned. Raises UserError when the file belongs to somebody else or cannot be written.
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
    """Copy the file beside itself, under a name that no earlier backup has."""
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
    """Write a file at once (mode 0600): readers see the old text or the new one, never a part."""
    # The temporary name starts like the file's, so that .gitignore covers it too.
    descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
