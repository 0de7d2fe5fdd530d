"""A benchmark that is ended removes what it started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
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
        assert benchmark.wait(30) == 130
    assert not list(tmp_path.iterdir())
