"""The file results.md: a section for each benchmark, written by the benchmark itself."""

import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench import servers
from bench.scripts import PROJECT

FILE = Path(__file__).with_name("results.md")
HEAD = """# Results

Each benchmark writes its section itself; [README.md](README.md) says how they measure.
"""
CPU_INFO = Path("/proc/cpuinfo")


def keep(title: str, lines: Iterable[str]) -> None:
    """Print a section and write it into results.md, in place of the one with the same title.

    lines: Markdown below the title. A line with commit, date and machine is added.
    """
    body = "\n".join([_origin(), "", *lines])
    print(f"{title}\n{body}")
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else HEAD
    head, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    others = [each.strip() for each in sections if each.partition("\n")[0] != title]
    titles = sorted([*others, f"{title}\n\n{body}"])
    FILE.write_text(head.strip() + "".join(f"\n\n## {each}" for each in titles) + "\n", "utf-8")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; all columns but the first are numbers."""
    marks = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(each)} |" for each in (header, marks, *rows)]


def _origin() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"Commit {_commit()}, {datetime.now(UTC):%Y-%m-%d}; {psutil.cpu_count()} cores"
        f" ({_processor()}), {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, {servers.kafka_title()}."
    )


def _commit() -> str:
    """Return the revision that is checked out, and whether files differ from it."""
    revision = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", f":!{FILE.relative_to(PROJECT)}")
    return f"{revision} with changes" if changed else revision


def _git(*arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=PROJECT, text=True).strip()


def _processor() -> str:
    text = CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.exists() else ""
    named = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return named.group(1) if named else platform.processor() or platform.machine()
