"""Scripts that a history runs to their end."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.services.scripts import command, plain_environment

SCRIPT_SECONDS = 240.0


def run_script(
    environment: Mapping[str, str], folder: Path, name: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a script to its end in a folder, and return its exit status and its output."""
    return subprocess.run(
        command(name, *arguments),
        env=plain_environment(environment),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        start_new_session=True,  # Ctrl-C lets a history end first
        check=False,
    )
