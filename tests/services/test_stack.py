"""`python -m clickstream stack` on servers that start for the first time, and after a crash."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from clickstream.errors import UserError
from clickstream.local import kafka_server, postgres_server, processes, search_server, stack
from clickstream.local.stack import Condition, Status
from tests.services.clone import Clone, is_gone
from tests.services.scripts import PROJECT, command, plain_environment
from tests.services.waiting import eventually

HAS_SEARCH = search_server.is_available()


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    yield Clone(tmp_path)
    stack.remove(tmp_path / ".stack")


@pytest.fixture
def bystander(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not belong to the stack, of the user that PostgreSQL runs as."""
    account = postgres_server.postgres(tmp_path).account
    with subprocess.Popen(["sleep", "300"], **processes.run_options(Path("/"), account)) as process:
        yield process
        assert process.poll() is None, "it was signalled"
        process.kill()


@pytest.mark.long
def test_up_twice_down_and_up_again_keeps_data_and_ports(clone: Clone) -> None:
    first = clone.done("up")
    pids = clone.pids()
    assert "consumer.py" in first
    assert len(pids) == (3 if HAS_SEARCH else 2)
    assert clone.run("status").returncode == 0
    settings = (clone.folder / ".env").read_text()
    clone.store_event()

    clone.done("up")
    assert clone.pids() == pids

    clone.done("down")
    assert all(is_gone(pid) for pid in pids.values())
    assert clone.run("status").returncode == 1
    assert clone.done("down") == "No server was running.\n"
    assert "database system is shut down" in clone.server("postgres").server.log.read_text()

    clone.done("up")
    assert (clone.folder / ".env").read_text() == settings
    assert clone.count_events() == 1


@pytest.mark.long
def test_reset_restarts_running_servers_empty_and_deletes_the_data_of_stopped_ones(
    clone: Clone,
) -> None:
    assert clone.done("reset") == "There is nothing to delete.\n"
    clone.done("up")
    settings = (clone.folder / ".env").read_text()
    clone.store_event()

    unanswered = clone.run("reset")
    assert unanswered.returncode == 2
    assert unanswered.stderr.endswith(
        "the data of the local servers would be deleted; add --yes to do it\n"
    )
    assert clone.count_events() == 1

    output = clone.done("reset", "--yes")
    for path in stack.contents(clone.stack):
        assert f"  {path} (" in output
    assert clone.run("status").returncode == 0
    assert (clone.folder / ".env").read_text() == settings
    assert clone.count_events() == 0

    clone.done("down")
    assert clone.done("reset", "--yes").endswith("\nDeleted.\n")
    assert stack.contents(clone.stack) == []


def test_two_concurrent_starts_start_each_server_once(clone: Clone) -> None:
    line = command("clickstream", "stack", "up")
    running = [
        subprocess.Popen(line, cwd=clone.folder, env=plain_environment({}), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=180)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    # Every server of this folder, known to the state file or not, has one of these in its command.
    marks = [f"127.0.0.1:{clone.server(name).port}" for name in ("kafka", "opensearch")]
    marks.append(f"-D {clone.server('postgres').server.folder}")
    serving = [
        pid for pid, line in living_processes().items() if any(mark in line for mark in marks)
    ]
    assert sorted(serving) == sorted(clone.pids().values())


def living_processes() -> dict[int, str]:
    """Process id -> command line."""
    return {
        each.pid: " ".join(each.info["cmdline"] or [])
        for each in psutil.process_iter(["cmdline", "status"])
        if each.info["status"] != psutil.STATUS_ZOMBIE
    }


# == .env =======================================================================================


def test_up_refuses_to_replace_a_hand_made_env_file_before_it_starts_a_server(clone: Clone) -> None:
    env_file = clone.folder / ".env"
    env_file.write_text("KAFKA_TOPIC=mine\n")
    result = clone.run("up")
    assert result.returncode == 1
    assert result.stderr.startswith("error: .env was written by hand")
    assert env_file.read_text() == "KAFKA_TOPIC=mine\n"
    assert not clone.stack.exists()


# == After a crash ==============================================================================


def test_another_process_with_the_id_of_a_dead_server_is_never_signalled(
    clone: Clone, bystander: subprocess.Popen[bytes]
) -> None:
    stack.up(clone.stack, ["kafka"])
    stack.down(clone.stack)
    state_file = clone.stack / "state.json"
    state = json.loads(state_file.read_text())
    found = psutil.Process(bystander.pid)
    started = found.create_time() - psutil.boot_time()
    for guess in (
        {"started": started, "command": ["tansu", "--silent"]},
        {"started": started - 60, "command": found.cmdline()},
    ):
        state["kafka"]["process"] = {"pid": bystander.pid, **guess}
        state_file.write_text(json.dumps(state))
        assert clone.server("kafka").condition == Condition.DIED
        assert stack.down(clone.stack) == []
        assert bystander.poll() is None


def test_postgres_starts_although_its_lock_file_names_another_process(
    clone: Clone, bystander: subprocess.Popen[bytes]
) -> None:
    stack.up(clone.stack, ["postgres"])
    lock_file = clone.server("postgres").server.folder / "data" / "postmaster.pid"
    lines = lock_file.read_text().splitlines()
    kill(clone.server("postgres"))
    lock_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
    stack.up(clone.stack, ["postgres"])
    assert clone.server("postgres").condition == Condition.RUNNING


def test_without_the_state_file_a_running_postgres_is_replaced_and_its_data_kept(
    clone: Clone,
) -> None:
    stack.up(clone.stack, ["postgres"])
    forgotten = clone.pids()["postgres"]
    (clone.stack / "state.json").unlink()
    (clone.stack / "postgres-password").unlink()
    data = clone.server("postgres").server.folder / "data"
    before = data.stat().st_ino
    assert stack.up(clone.stack, ["postgres"]) == ["postgres"]
    assert is_gone(forgotten)
    assert data.stat().st_ino == before


def test_partial_data_of_an_interrupted_first_start_is_created_again(clone: Clone) -> None:
    part = clone.server("postgres").server.folder / "data.part"
    clone.stack.mkdir()
    part.mkdir(parents=True)
    (part / "PG_VERSION").write_text("18\n")
    stack.up(clone.stack, ["postgres"])
    assert clone.server("postgres").condition == Condition.RUNNING
    assert not part.exists()


def test_a_damaged_state_file_is_an_error_without_a_traceback(clone: Clone) -> None:
    clone.stack.mkdir()
    (clone.stack / "state.json").write_text('{"kafka": 1}')
    result = clone.run("status")
    assert result.returncode == 1
    assert "is damaged" in result.stderr
    (clone.stack / "state.json").unlink()


def kill(status: Status) -> None:
    assert status.process is not None
    processes.stop(status.process)


# == Permissions and users ======================================================================


def test_no_permission_outside_the_stacks_folders_changes(clone: Clone) -> None:
    package = Path(sys.prefix)
    watched = {*clone.folder.parents, *PROJECT.parents, PROJECT, package, *package.parents}
    watched |= {Path("/var/lib"), Path("/var/tmp"), *package.glob("lib/*/site-packages/*")}
    before = {path: permissions(path) for path in watched if path.exists()}
    stack.up(clone.stack, ["postgres"])
    stack.remove(clone.stack)
    assert {path: permissions(path) for path in before} == before


def permissions(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mode, found.st_uid, found.st_gid


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_runs_postgres_as_an_unprivileged_user_in_a_folder_that_it_can_enter(
    clone: Clone,
) -> None:
    clone.folder.chmod(0o700)
    stack.up(clone.stack, ["postgres"])
    folder = clone.server("postgres").server.folder
    assert psutil.Process(clone.pids()["postgres"]).uids().real != 0
    assert permissions(folder / "data")[0] & 0o077 == 0
    assert permissions(clone.stack / "postgres-password")[0] & 0o077 == 0
    stack.remove(clone.stack)
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's data is outside the folder")
def test_data_of_a_deleted_folder_is_listed_and_can_be_deleted(tmp_path: Path) -> None:
    deleted = Clone(tmp_path / "deleted")
    deleted.folder.mkdir()
    stack.up(deleted.stack, ["postgres"])
    data, pid = deleted.server("postgres").server.folder, deleted.pids()["postgres"]
    shutil.rmtree(deleted.folder)

    other = Clone(tmp_path)
    listed = other.run("status").stdout
    assert f"  {data} (" in listed
    assert "python -m clickstream stack reset --orphaned" in listed
    other.done("reset", "--orphaned", "--yes")
    assert is_gone(pid)
    assert not data.exists()
    assert str(data) not in other.run("status").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_normal_user_can_run_a_stack_that_other_users_cannot_stop() -> None:
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, nobody.pw_uid, nobody.pw_gid)
        as_nobody = Clone(Path(name), {"user": nobody.pw_uid, "group": nobody.pw_gid})
        if not as_nobody.may_run():
            pytest.skip(f"nobody may not run {sys.executable}")
        try:
            as_nobody.done("up")
            assert as_nobody.run("status").returncode == 0
            with pytest.raises(UserError, match="another user"):
                stack.down(as_nobody.stack)
        finally:
            as_nobody.done("down")
        assert as_nobody.run("status").returncode == 1


# == Platforms without a server =================================================================


def test_on_a_platform_without_a_search_server_the_other_servers_run(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_server, "installed", lambda *_: None)
    assert stack.up(clone.stack, ["kafka", "opensearch"]) == ["kafka"]
    assert stack.environment(clone.stack)["OPENSEARCH_HOST"] == ""
    assert clone.server("opensearch").condition == Condition.UNAVAILABLE


def test_on_a_platform_without_a_broker_the_error_says_what_to_do(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_server, "installed", lambda *_: None)
    with pytest.raises(UserError, match=r"requirements-dev.txt.*KAFKA_BOOTSTRAP_SERVERS"):
        stack.up(clone.stack, ["kafka"])


# == Temporary servers ==========================================================================

SHARE = """
import sys, time
from pathlib import Path
from clickstream.local.temporary import temporary_stack
with temporary_stack(Path(sys.argv[1]), ["kafka", "postgres"]):
    print("up", flush=True)
    sys.stdin.read()
"""


def test_temporary_servers_run_until_the_last_user_ends_even_by_sigkill(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "shared"
    users = [start_user(folder), start_user(folder)]
    found = stack.status(folder)[:2]
    assert [each.condition for each in found] == [Condition.RUNNING] * 2

    users[0].kill()
    users[0].wait()
    assert [each.condition for each in stack.status(folder)[:2]] == [Condition.RUNNING] * 2

    users[1].kill()
    eventually(lambda: not folder.exists())
    eventually(lambda: list(tmp_path.iterdir()) == [])
    assert all(each.process and is_gone(each.process.pid) for each in found)
    assert not found[1].server.folder.exists()
    for user in users:
        user.communicate()


def start_user(folder: Path) -> subprocess.Popen[str]:
    user = subprocess.Popen(
        [sys.executable, "-c", SHARE, str(folder)],
        env=plain_environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert user.stdout is not None
    assert user.stdout.readline() == "up\n"
    return user
