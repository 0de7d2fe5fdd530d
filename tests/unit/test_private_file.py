"""Files for secrets: mode 0600, and nothing left in a folder."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from clickstream.clients.private_file import private_file

SECRET = b"-----BEGIN PRIVATE KEY-----\n"


@pytest.fixture(params=["in memory", "in a folder"])
def temporary(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder for temporary files, on systems with and without files in memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if request.param == "in a folder":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("this system has no files in memory")
    return tmp_path


def test_the_file_can_be_read_repeatedly_by_its_owner_only(temporary: Path) -> None:
    assert list(temporary.iterdir()) == []
    with private_file(SECRET) as path:
        assert [Path(path).read_bytes() for _ in range(2)] == [SECRET, SECRET]
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert not Path(path).exists()
    assert list(temporary.iterdir()) == []


def test_on_linux_the_file_is_in_no_folder_even_while_it_is_used(temporary: Path) -> None:
    if not hasattr(os, "memfd_create"):
        pytest.skip("this system has no files in memory")
    with private_file(SECRET):
        assert list(temporary.iterdir()) == []
