"""The commands of README.md, run as they are in a copy of the project with local servers."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from clickstream.clients.postgres import only_row
from clickstream.local import stack
from tests.services.clone import Clone
from tests.services.scripts import PROJECT, plain_environment

README = (PROJECT / "README.md").read_text()
BLOCK = re.compile(r"^```(sh|sql)\n(.+?)^```", re.M | re.S)
# The beginning of a block that is not run -> the reason.
NOT_RUN = {
    "python3 -m venv": "installs packages; test_demo.py runs the demo",
    "make consumer": "runs until Ctrl-C; test_first_minutes.py runs both scripts",
    ". ./.env\necho": "needs kcat",
    "python summary.py --watch": "needs a terminal; test_live_view.py runs it",
    "export AIVEN_TOKEN": "needs an account",
    "CREATE ROLE": "test_views.py runs it",
}
CSV = "timestamp,visitorid,event,itemid,transactionid\n1793577600000,7,view,11,\n"
SAMPLES = (
    "SELECT event_id::text, user_id FROM clickstream_events ORDER BY event_time LIMIT 1",
    "SELECT session_id::text FROM session_metrics ORDER BY session_id LIMIT 1",
    'SELECT partition, "offset" FROM rejected_events LIMIT 1',
    "SELECT partition FROM stream_positions WHERE records > rejected ORDER BY partition LIMIT 1",
)


def blocks() -> list[tuple[str, str]]:
    """Return the language and the text of every block of commands or SQL."""
    return BLOCK.findall(README)


def is_run(text: str) -> bool:
    return not text.startswith(tuple(NOT_RUN))


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    """A copy of the project whose virtual environment is the one of this test."""
    folder = tmp_path / "clone"
    unwanted = shutil.ignore_patterns(".*cache", ".git", ".venv", ".stack", ".env", "__pycache__")
    shutil.copytree(PROJECT, folder, ignore=unwanted)
    (folder / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name != ".ready":
            (folder / ".venv" / path.name).symlink_to(path)
    (folder / ".venv" / ".ready").touch()
    (folder / "events.csv").write_text(CSV)
    yield Clone(folder)
    stack.remove(folder / ".stack")


def run(clone: Clone, text: str) -> str:
    """Run the lines of a block in one shell; answer its questions with yes."""
    environment = plain_environment({})
    del environment["PYTHONPATH"]
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text],
        cwd=clone.folder,
        env={**environment, "VIRTUAL_ENV": str(clone.folder / ".venv")},
        input="y\n" * 5,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def read_samples(clone: Clone) -> dict[str, str]:
    """Return the ids that the README makes up, each with one that is stored."""
    with closing(clone.connect()) as connection, connection.cursor() as cursor:
        found = []
        for query in SAMPLES:
            cursor.execute(query)
            found.append(only_row(cursor))
    (event_id, user_id), (session_id,), (partition, offset), (first,) = found
    return {
        "0199f7a2-6f6d-7cc1-8d0e-6ddf2f6a2c11": event_id,
        "user-000042": user_id,
        "--visitor ID": f"--visitor {user_id}",
        "--session ID": f"--session {session_id}",
        "find 3:1042": f"find {first}:0",
        "3:1042": f"{partition}:{offset}",
    }


def with_samples(text: str, samples: Mapping[str, str]) -> str:
    for made_up, stored in samples.items():
        text = text.replace(made_up, stored)
    return text


def test_every_block_that_is_not_run_is_in_the_readme() -> None:
    assert {each for each in NOT_RUN if not any(text.startswith(each) for _, text in blocks())} == (
        set()
    )


@pytest.mark.long
@pytest.mark.skipif(not (shutil.which("make") and shutil.which("curl")), reason="needs make, curl")
def test_every_command_of_the_readme_runs_on_the_local_servers(clone: Clone) -> None:
    run(clone, "make up")
    run(clone, "python producer.py --events 300 --backfill 2h --seed 7")
    run(clone, "echo '{' | python producer.py --replay -")
    run(clone, "python consumer.py --drain")
    insert_old_topic(clone)
    samples = read_samples(clone)
    for language, text in blocks():
        if not is_run(text):
            continue
        if language == "sql":
            run_sql(clone, text)
        else:
            run(clone, with_samples(text, samples))
    run(clone, "python consumer.py --drain")
    assert "Verified" in run(clone, "python summary.py --verify")
    run(clone, "make down")


def insert_old_topic(clone: Clone) -> None:
    """Store a position of a topic that Kafka does not have, which the README forgets."""
    run_sql(
        clone,
        "INSERT INTO stream_positions (topic, partition, topic_id) VALUES ('old-topic', 0, '')",
    )


def run_sql(clone: Clone, text: str) -> None:
    with closing(clone.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(text)
