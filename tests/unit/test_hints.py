"""Commands that messages name: they exist, and they run when a user pastes them."""

import argparse
import ast
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from clickstream import __main__ as commands
from clickstream.pasteable import pasteable
from clickstream.sending import arguments

ROOT = Path(__file__).parents[2]
# The end of a command in a message: punctuation, a placeholder, or the text that follows.
COMMAND = re.compile(r"python (-m clickstream(?: [a-z][a-z-]*)*|[a-z_]+\.py)((?: --[a-z-]+)*)")


def named_commands() -> set[str]:
    """The commands in all texts of the package and of the scripts."""
    found = set()
    for path in [*ROOT.glob("*.py"), *(ROOT / "clickstream").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {match[0] for match in COMMAND.finditer(node.value)}
    return found


def parser_of(program: str) -> argparse.ArgumentParser:
    if program == "-m":
        return commands.build_parser()
    if program == "producer.py":
        return arguments.parser()
    found = importlib.import_module(program.removesuffix(".py")).build_parser()
    assert isinstance(found, argparse.ArgumentParser)
    return found


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings}


def test_every_command_that_a_message_names_exists() -> None:
    found = named_commands()
    assert len(found) > 20
    for command in found:
        _, program, *rest = shlex.split(command)
        parser = parser_of(program)
        for word in rest[1:] if program == "-m" else rest:
            if word.startswith("--"):
                assert word in options_of(parser), command
                continue
            actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
            if actions and word in actions[0].choices:
                parser = actions[0].choices[word]
            else:  # a word of the sentence after the command
                assert not actions, command


def shell(line: str, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env={"PATH": path}, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("inside", "command"),
    [(True, "python create_schema.py"), (False, "python -m clickstream find")],
)
def test_a_pasted_command_runs_while_the_virtual_environment_is_not_activated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bool, command: str
) -> None:
    folder = ROOT if inside else tmp_path
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    line = pasteable(f"run: {command}").removeprefix("run: ")
    done = shell(f"{line} --help", folder, "/usr/bin:/bin")
    assert done.returncode == 0, (line, done.stderr)


def test_in_the_project_with_an_activated_environment_a_command_stays_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    for hint in (
        "run: python -m clickstream doctor",
        "python summary.py --verify; python -m pip install -r requirements-dev.txt",
    ):
        assert pasteable(hint) == hint


# == The first lines of the scripts =============================================================

OLD_PYTHON = """
import datetime, runpy, sys
sys.version_info = (3, 10, 4, "final", 0)
del datetime.UTC
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""
SCRIPTS = [path.name for path in ROOT.glob("*.py")]


@pytest.mark.parametrize("program", [*SCRIPTS, "clickstream/__main__.py"])
def test_with_an_older_python_a_script_says_so_in_one_sentence(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OLD_PYTHON, program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: Python 3\.11 or later is needed, and \S+ is Python 3\.10; .+\n", done.stderr
    )


@pytest.mark.parametrize("program", [[name] for name in SCRIPTS] + [["-m", "clickstream"]])
def test_without_the_packages_a_script_says_so_in_one_sentence(program: list[str]) -> None:
    line = [sys.executable, "-S", *program]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: \S+ lacks the packages kafka-python, .+ and \d+ more; .+activate.*\n", done.stderr
    )
