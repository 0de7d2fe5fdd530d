"""The examples of systemd units: accepted by systemd, and they run commands that exist."""

import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

import consumer
from clickstream import __main__ as commands
from clickstream import cli
from tests.unit.source_files import ROOT

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "clickstream-consumer.service"
RETAIN = DEPLOY / "clickstream-retain.service"
PYTHON = "/opt/clickstream/.venv/bin/python"


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """Verify copies that name a Python of this machine, because systemd looks for the program."""
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("systemd-analyze, part of systemd, is not installed")
    copies = [tmp_path / unit.name for unit in DEPLOY.iterdir()]
    for copy in copies:
        copy.write_text((DEPLOY / copy.name).read_text().replace(PYTHON, sys.executable))
    done = subprocess.run([verifier, "verify", *copies], capture_output=True, text=True)
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


def test_the_unit_of_retention_runs_a_command_that_exists() -> None:
    unit = ConfigParser(interpolation=None)
    unit.read(RETAIN)
    program, module, package, *options = unit["Service"]["ExecStart"].split()
    assert (program, module, package) == (PYTHON, "-m", "clickstream")
    assert commands.build_parser().parse_args(options).days.days == 400
