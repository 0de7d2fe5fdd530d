"""The journal of erasures: appended safely, and read with an error that names a damaged line."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clickstream.admin import erasure_journal
from clickstream.admin.erasure_journal import JournalEntry
from clickstream.errors import UserError

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)
FIRST, SECOND = JournalEntry(b"k" * 32, "ab" * 32), JournalEntry(b"j" * 32, "cd" * 32)


def test_entries_are_appended_and_read_again_and_others_cannot_read_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal"
    erasure_journal.append(path, [FIRST, SECOND], NOON)
    erasure_journal.append(path, [FIRST], NOON)
    assert erasure_journal.read(path) == [FIRST, SECOND, FIRST]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_was_cut_is_named_and_damages_no_later_one(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    erasure_journal.append(path, [FIRST, FIRST], NOON)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    erasure_journal.append(path, [SECOND], NOON)
    with pytest.raises(UserError, match=r"^line 2 of .*journal is not an entry"):
        erasure_journal.read(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    assert erasure_journal.read(path) == [FIRST, SECOND]


def test_a_journal_that_cannot_be_written_or_read_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "journal"):
        with pytest.raises(UserError, match="cannot write the journal"):
            erasure_journal.append(path, [FIRST], NOON)
        with pytest.raises(UserError, match="cannot read"):
            erasure_journal.read(path)


def test_a_journal_without_erasures_is_an_error(tmp_path: Path) -> None:
    """After a restore, an empty file must not look like a repeated erasure."""
    path = tmp_path / "journal"
    path.write_bytes(b"\n")
    with pytest.raises(UserError, match=r"journal has no erasures; check --again"):
        erasure_journal.read(path)
