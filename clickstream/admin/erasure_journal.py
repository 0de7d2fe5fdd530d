"""The journal of erasures: a file that repeats them in a database restored from an older backup.

Each line is a JSON object with the hash of a visitor, the key of the hash, and the time. The ids
are not in it. It must be kept apart from the database, and as long as backups of the database are.
"""

import json
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from clickstream.errors import UserError
from clickstream.untrusted_text import clean

# Beside the scripts.
JOURNAL_FILE = Path(__file__).parents[2] / "erased-visitors.jsonl"
HASH_BYTES = 32


class JournalEntry(NamedTuple):
    """The erasure of one visitor. visitor_hash: HMAC of the id by this key, in hex."""

    key: bytes
    visitor_hash: str


def append(path: Path, entries: Sequence[JournalEntry], erased_at: datetime) -> None:
    """Append entries, and return when they are on the disk; a new file gets mode 0600.

    Raises UserError if the file cannot be written.
    """
    text = "".join(_line(each, erased_at) for each in entries)
    try:
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "r+b") as file:
            if file.seek(0, os.SEEK_END) and not _ends_with_newline(file.fileno()):
                file.write(b"\n")  # a line that was cut stays apart from the next one
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _sync_folder(path.parent)
    except OSError as error:
        raise UserError(
            f"cannot write the journal {clean(str(path))} ({error.strerror}), without which an "
            "erasure cannot be repeated in a restored backup: name another file with --journal"
        ) from None


def read(path: Path) -> list[JournalEntry]:
    """Return the entries of a journal. Raises UserError if it cannot be read or has none."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(
            f"cannot read {clean(str(path))}: {error.strerror}; check --again"
        ) from None
    entries = [
        _entry(line, f"line {number} of {clean(str(path))}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not entries:
        raise UserError(f"{clean(str(path))} has no erasures; check --again")
    return entries


def _line(entry: JournalEntry, erased_at: datetime) -> str:
    fields = {
        "erased_at": erased_at.isoformat(),
        "key": entry.key.hex(),
        "visitor": entry.visitor_hash,
    }
    return f"{json.dumps(fields)}\n"


def _entry(line: bytes, place: str) -> JournalEntry:
    try:
        fields = json.loads(line)
        key, visitor = bytes.fromhex(fields["key"]), bytes.fromhex(fields["visitor"])
        if not key or len(visitor) != HASH_BYTES:
            raise ValueError
    except (ValueError, TypeError, LookupError):
        raise UserError(
            f"{place} is not an entry of a journal of erasures; if the line was cut off by a full "
            "disk or a crash, delete it and erase that visitor again"
        ) from None
    return JournalEntry(key, visitor.hex())


def hashes(entries: Iterable[JournalEntry]) -> set[str]:
    """Return the hashes of the entries."""
    return {entry.visitor_hash for entry in entries}


def _ends_with_newline(descriptor: int) -> bool:
    return os.pread(descriptor, 1, os.fstat(descriptor).st_size - 1) == b"\n"


def _sync_folder(folder: Path) -> None:
    """Write the folder's entry of a new file to the disk, on systems that can do that."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
