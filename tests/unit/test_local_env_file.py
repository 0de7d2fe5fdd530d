"""Generated `.env` files: their owner, backups, and lines that a person added."""

import stat
from pathlib import Path

import pytest
from dotenv import dotenv_values

from clickstream.env_file import check_writable, write_env_file
from clickstream.errors import UserError

STACK = "python -m clickstream stack up"
CLOUD = "python -m clickstream env"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_the_first_line_names_the_command(path: Path) -> None:
    assert write_env_file(path, {"POSTGRES_PORT": "5433"}, STACK) is None
    assert path.read_text().splitlines()[0] == f"# Written by: {STACK}"
    assert dotenv_values(path) == {"POSTGRES_PORT": "5433"}


def test_other_users_cannot_read_the_file(path: Path) -> None:
    write_env_file(path, {"POSTGRES_PASSWORD": "x"}, STACK)
    write_env_file(path, {"POSTGRES_PASSWORD": "y"}, STACK)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("value", ["", "a b", "it's", "a\\b\\'", "#x", 'say "x"', "${HOME}", "é€"])
def test_every_value_is_read_back_unchanged(path: Path, value: str) -> None:
    write_env_file(path, {"SECRET": value, "AFTER": "1"}, STACK)
    assert dotenv_values(path, interpolate=False) == {"SECRET": value, "AFTER": "1"}


def test_a_value_with_a_line_break_is_refused_before_anything_is_written(path: Path) -> None:
    with pytest.raises(UserError, match="SECRET"):
        write_env_file(path, {"SECRET": "a\nb"}, STACK)
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "KAFKA_TOPIC=mine\n", f"# Written by: {CLOUD}\nA=1\n"])
def test_a_file_of_another_owner_is_not_changed(path: Path, text: str) -> None:
    path.write_text(text)
    for refuse in (check_writable, lambda *rest: write_env_file(rest[0], {"A": "2"}, *rest[1:])):
        with pytest.raises(UserError, match="--force"):
            refuse(path, STACK, False)
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_force_keeps_a_backup_and_never_overwrites_an_earlier_one(path: Path) -> None:
    for number, text in enumerate(["A=first\n", "A=second\n"], start=1):
        path.write_text(text)
        backup = write_env_file(path, {"B": "1"}, STACK, force=True)
        assert backup == path.with_name(f".env.backup-{number}")
        assert backup.read_text() == text
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        assert dotenv_values(path) == {"B": "1"}
    assert path.with_name(".env.backup-1").read_text() == "A=first\n"


def test_the_owner_replaces_its_own_values_and_keeps_added_lines(path: Path) -> None:
    write_env_file(path, {"A": "1", "B": "1"}, STACK)
    path.write_text(path.read_text() + "# my own\nTARGET_ACTIVE_USERS=500\nexport A=mine\n")
    assert write_env_file(path, {"A": "2", "C": "3"}, STACK) is None
    assert dotenv_values(path) == {"A": "2", "B": "1", "TARGET_ACTIVE_USERS": "500", "C": "3"}
    assert "# my own" in path.read_text()
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_of_that_name_is_an_error_for_the_user(path: Path) -> None:
    path.mkdir()
    with pytest.raises(UserError, match="folder"):
        write_env_file(path, {"A": "1"}, STACK, force=True)
