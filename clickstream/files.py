"""Files with credentials: replaced at once, kept as backups, readable by their owner only."""

import os
import tempfile
from itertools import count
from pathlib import Path


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
