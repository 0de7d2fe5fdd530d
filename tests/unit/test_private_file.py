"""Files for secrets: mode 0600, and nothing left in a folder."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from clickstream.clients.private_file import private_file

SECRET = b"-----BEGIN PRIVATE KEY-----\n"
HAS_FILES_IN_MEMORY = hasattr(os, "memfd_create")


@pytest.mark.parametrize("in_memory", [True, False] if HAS_FILES_IN_MEMORY else [False])
def test_only_the_owner_can_read_the_file_and_nothing_is_left_of_it(
    in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    with private_file(SECRET) as path:
        assert [Path(path).read_bytes() for _ in range(2)] == [SECRET, SECRET]
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        assert len(list(tmp_path.iterdir())) == (0 if in_memory else 1)
    assert not Path(path).exists()
    assert list(tmp_path.iterdir()) == []
