"""The example of a systemd unit: accepted by systemd, and it runs scripts that exist."""

import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

import consumer
from clickstream import cli
from tests.unit.source_files import ROOT

UNIT = ROOT / "deploy" / "clickstream-consumer.service"
PYTHON = "/opt/clickstream/.venv/bin/python"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """Verify a copy that names a Python of this machine, because systemd looks for the program."""
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("systemd-analyze, part of systemd, is not installed")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(PYTHON, sys.executable))
    done = subprocess.run([verifier, "verify", copy], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_runs_the_scripts_and_does_not_restart_after_misuse() -> None:
    unit = ConfigParser(interpolation=None)
    unit.read(UNIT)
    service = unit["Service"]
    for command, script in [("ExecStartPre", "create_schema.py"), ("ExecStart", "consumer.py")]:
        assert service[command].startswith(f"{PYTHON} {script}")
        assert (ROOT / script).exists()
    options = service["ExecStart"].split()[2:]
    assert consumer.build_parser().parse_args(options).metrics_port
    assert service["RestartPreventExitStatus"] == str(cli.MISUSE)
