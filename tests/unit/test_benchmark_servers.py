"""A benchmark that is ended removes what it started."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).parents[2]
END_SECONDS = 30
BENCHMARK = """
from time import sleep
from bench import servers
from clickstream import cli

def main():
    with servers.running([]):
        print("running", flush=True)
        sleep(60)
    return cli.DONE

raise SystemExit(cli.run(main))
"""
BENCHMARK_WITH_SCRIPT = """
from time import sleep
from bench.scripts import PROJECT, running
from clickstream.settings import Settings

with running(PROJECT, Settings.from_mapping({}), "-c", "import time; time.sleep(60)") as script:
    print(script.process.pid, flush=True)
    sleep(60)
"""


def test_sigterm_ends_a_benchmark_as_ctrl_c_does(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BENCHMARK],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    ) as benchmark:
        assert benchmark.stdout
        assert benchmark.stdout.readline() == b"running\n"
        assert list(tmp_path.iterdir())
        benchmark.send_signal(signal.SIGTERM)
        assert benchmark.wait(END_SECONDS) == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv of util-linux is needed")
def test_a_script_of_a_benchmark_ends_if_sigkill_ends_the_benchmark() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BENCHMARK_WITH_SCRIPT], cwd=PROJECT, stdout=subprocess.PIPE
    ) as benchmark:
        assert benchmark.stdout
        script = psutil.Process(int(benchmark.stdout.readline()))
        benchmark.kill()
        script.wait(END_SECONDS)
