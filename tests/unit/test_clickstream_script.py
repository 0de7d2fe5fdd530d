"""The script for websites: its own tests in Node, and its size."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest
import rjsmin

from tests.unit.source_files import ROOT

NODE = shutil.which("node")
TESTS = Path(__file__).parent / "browser_script" / "clickstream.test.js"
SCRIPT = ROOT / "clickstream" / "collector" / "website" / "clickstream.js"
MAX_BYTES = 4096


@pytest.mark.skipif(NODE is None, reason="no Node in the PATH")
def test_the_script_for_websites_passes_its_tests_in_node() -> None:
    done = subprocess.run(
        [str(NODE), "--test", TESTS], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "# pass 0" not in done.stdout


def test_the_script_for_websites_is_small() -> None:
    minified = rjsmin.jsmin(SCRIPT.read_text(encoding="utf-8"))
    assert len(gzip.compress(minified.encode())) <= MAX_BYTES
