"""The Dockerfile: passes hadolint, is pinned, runs without root, and stops on SIGTERM."""

import json
import os
import re
import signal
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import consumer
from clickstream.admin.dashboards import SAVED_OBJECTS_FILE
from clickstream.storage.schema import SCHEMA_FILE
from tests.unit.source_files import PACKAGE, ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
(COMMAND,) = re.findall(r"^CMD (.+)", DOCKERFILE, re.M)
# Stands for both scripts: create_schema.py ends as told, consumer.py runs until SIGTERM.
PYTHON = """#!/bin/sh
[ "$1" = create_schema.py ] && exit "$CREATE_SCHEMA_STATUS"
trap 'echo stopped; exit 0' TERM
echo "started $1"
while :; do sleep 0.05; done
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[str]]]:
    """Start the command of the image with a stand-in for Python; killed at the end of the test."""
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    groups: list[int] = []

    def start_command(create_schema_status: int) -> subprocess.Popen[str]:
        environment = {
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "CREATE_SCHEMA_STATUS": str(create_schema_status),
        }
        process = subprocess.Popen(
            json.loads(COMMAND),
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        groups.append(process.pid)
        return process

    yield start_command
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint is not to be had for this platform")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_base_image_has_an_exact_version() -> None:
    (image,) = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+", image)


def test_the_image_runs_as_a_user_other_than_root() -> None:
    users = re.findall(r"^USER (\d+)$", DOCKERFILE, re.M)
    assert users
    assert int(users[-1]) > 0


def test_sigterm_reaches_the_consumer(start: Callable[[int], subprocess.Popen[str]]) -> None:
    process = start(0)
    assert process.stdout
    assert process.stdout.readline() == "started consumer.py\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=120)[0] == "stopped\n"
    assert process.returncode == 0


def test_the_health_check_asks_the_port_that_the_consumer_serves() -> None:
    (options,) = re.findall(r"consumer\.py (.+)", json.loads(COMMAND)[-1])
    port = consumer.build_parser().parse_args(options.split()).metrics_port
    assert f"http://127.0.0.1:{port}/livez" in DOCKERFILE


def test_the_consumer_does_not_start_without_its_tables(
    start: Callable[[int], subprocess.Popen[str]],
) -> None:
    process = start(1)
    assert process.communicate(timeout=120)[0] == ""
    assert process.returncode == 1


def test_the_image_contains_what_the_commands_read_and_no_credentials() -> None:
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [each for each in patterns if not each.startswith("#")]
    assert patterns[0] == "*"
    included = {each[1:].rstrip("/") for each in patterns if each.startswith("!")}
    assert included == {
        *("requirements.txt", "requirements-collector.txt", "*.py", PACKAGE),
        str(SCHEMA_FILE.relative_to(ROOT)),
        str(SAVED_OBJECTS_FILE.parent.relative_to(ROOT)),
    }
