"""Fail points: they kill a process only at the point that a test chose."""

import os
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

import pytest

from clickstream import fail_points
from clickstream.fail_points import FailPoint

REACH_TWO_POINTS = """
from clickstream.fail_points import FailPoint, reach
reach(FailPoint.PARSED)
print("parsed", flush=True)
reach(FailPoint.INSERTED)
print("inserted", flush=True)
"""


@pytest.mark.parametrize(
    ("variables", "is_killed"), [({fail_points.FOLDER_VARIABLE}, True), (set(), False)]
)
def test_a_process_is_killed_at_a_point_only_if_the_variable_names_a_folder(
    variables: set[str], is_killed: bool, tmp_path: Path
) -> None:
    """The folder has a file with the name of the point; it is deleted."""
    file = tmp_path / FailPoint.INSERTED
    file.touch()
    ended = subprocess.run(
        [sys.executable, "-c", REACH_TWO_POINTS],
        env={**os.environ, "PYTHONPATH": os.getcwd(), **dict.fromkeys(variables, str(tmp_path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == (-SIGKILL if is_killed else 0)
    assert ended.stdout.split() == (["parsed"] if is_killed else ["parsed", "inserted"])
    assert file.exists() != is_killed
