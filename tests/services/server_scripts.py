"""The scripts of tests/servers, which install, start and stop real servers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.services.scripts import PROJECT

KAFKA_SCRIPT = PROJECT / "tests" / "servers" / "kafka.sh"
OPENSEARCH_SCRIPT = PROJECT / "tests" / "servers" / "opensearch.sh"
INSTALL_SECONDS = 600
START_SECONDS = 150


def ask(
    script: Path, verb: str, variables: Mapping[str, str], seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a script with one of its verbs; it may take this many seconds."""
    return subprocess.run(
        [script, verb],
        env=variables,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def missing(script: Path, title: str) -> str:
    """Return as a sentence what this machine lacks for a server; empty if nothing.

    title: its name, for people.
    """
    if sys.platform != "linux" or not shutil.which("bash"):
        return f"a real {title} is only started on Linux, with bash"
    asked = ask(script, "check", os.environ)
    return "" if asked.returncode == 0 else f"no real {title}, {asked.stdout.strip()}"
