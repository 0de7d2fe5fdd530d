"""The command lines of the scripts and of `python -m clickstream`: help, version, misuse."""

import argparse
import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import clickstream
from clickstream import __main__ as commands

ROOT = Path(__file__).parents[2]
MAIN = "clickstream.__main__"
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
NAMES = [*SCRIPTS, "clickstream"]


def program(name: str) -> list[str]:
    """Return the command line of a script; "clickstream" stands for `python -m clickstream`."""
    return [sys.executable, *(["-m", name] if name == "clickstream" else [str(ROOT / name)])]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return run_program(sys.executable, *command)


def run_program(*command: str) -> subprocess.CompletedProcess[str]:
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    return subprocess.run(
        command, cwd=ROOT, env=buffered, capture_output=True, text=True, timeout=180
    )


def parsers(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands."""
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


@pytest.mark.parametrize("module", [*(name.removesuffix(".py") for name in SCRIPTS), MAIN])
def test_the_version_is_printed(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module).main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr() == (f"clickstream {clickstream.__version__}\n", "")


@pytest.mark.parametrize("name", NAMES)
def test_the_help_is_printed_and_the_exit_status_is_0(name: str) -> None:
    done = run_program(*program(name), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")


# They take from 0.05 to 0.15 s of CPU time each.
SLOW_LIBRARIES = {"cryptography", "faker", "kafka", "opensearchpy", "rich", "ua_parser"}


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("clickstream", set()),
        ("consumer.py", {"kafka", "ua_parser"}),
        ("create_schema.py", {"kafka"}),
        ("producer.py", {"kafka"}),
        ("summary.py", set()),
    ],
)
def test_a_script_starts_without_slow_libraries_that_only_some_runs_need(
    name: str, needed: set[str]
) -> None:
    done = run("-X", "importtime", *program(name)[1:], "--version")
    imported = set(re.findall(r"^import time:.*\|\s+(\w+)$", done.stderr, re.MULTILINE))
    assert imported
    assert imported & SLOW_LIBRARIES <= needed


@pytest.mark.parametrize(
    "command", [*([name] for name in SCRIPTS), ["-m", "clickstream", "positions", "show"]]
)
def test_a_broken_env_file_is_misuse_and_one_sentence_with_its_line(
    command: list[str], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("KAFKA_TOPIC=mine\nPOSTGRES_PASSWORD hidden\n")
    program = [command[0] if command[0] == "-m" else str(ROOT / command[0]), *command[1:]]
    done = subprocess.run(
        [sys.executable, *program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: line 2 of {tmp_path / '.env'} is not NAME=value; correct it, or put # before it\n"
    )


# == Ctrl-C, and standard output that is closed or full =========================================


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_during_the_imports_ends_the_script_without_a_traceback(
    name: str, tmp_path: Path
) -> None:
    """The module argparse is replaced by one that waits, as an import that takes long would."""
    (tmp_path / "argparse.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(60)"
    )
    script = subprocess.Popen(
        program(name),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert script.stdout
    assert script.stdout.readline() == "importing\n"
    script.send_signal(signal.SIGINT)
    _, errors = script.communicate(timeout=180)
    assert (script.returncode, errors) == (-signal.SIGINT, "")  # 130 in a shell


FULL = "error: the output cannot be written (No space left on device); free some space on the disk"


@pytest.mark.parametrize(
    ("name", "output", "status", "message"),
    [
        *((name, ">&-", 0, "") for name in NAMES),
        *((name, "| true", 1, "") for name in NAMES),
        ("create_schema.py", ">/dev/full", 1, f"{FULL}\n"),
    ],
)
def test_output_that_cannot_be_printed_gives_no_traceback(
    name: str, output: str, status: int, message: str
) -> None:
    """The reader of a pipe may end before the output, as `head` does."""
    command = f'set -o pipefail; "$@" {output}'
    done = run_program("bash", "-c", command, "bash", *program(name), "--help")
    assert (done.returncode, done.stderr) == (status, message)


def test_an_error_in_a_deleted_working_directory_is_one_sentence(tmp_path: Path) -> None:
    leave = f'cd {tmp_path} && rmdir {tmp_path} && exec "$@"'
    done = subprocess.run(
        ["bash", "-c", leave, "bash", *program("summary.py")],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": "1",
        },
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot connect to PostgreSQL at 127.0.0.1:1 ")
    assert done.stderr.count("\n") == 1


class ParserBuilt(Exception):  # noqa: N818 - not an error
    """Carries a parser out of the main function of a script."""


@pytest.fixture(params=[*SCRIPTS, "clickstream"])
def parser(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> argparse.ArgumentParser:
    """The parser of a script, as its main function builds it."""
    if request.param == "clickstream":
        return commands.build_parser()

    def leave(self: argparse.ArgumentParser, *_: object) -> None:
        raise ParserBuilt(self)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", leave)
    with pytest.raises(ParserBuilt) as built:
        importlib.import_module(request.param.removesuffix(".py")).main([])
    found: argparse.ArgumentParser = built.value.args[0]
    return found


def test_every_option_and_every_command_has_a_help_text(parser: argparse.ArgumentParser) -> None:
    for each in parsers(parser):
        assert each.format_help()
        for action in each._actions:
            if isinstance(action, argparse._SubParsersAction):
                explained = {command.dest for command in action._choices_actions if command.help}
                assert explained == set(action.choices), each.prog
            else:
                assert action.help, f"{each.prog} {action.option_strings or action.dest}"


@pytest.mark.parametrize("command", [[], ["stack"], ["rejected"]])
def test_a_missing_command_is_misuse_and_prints_the_commands(command: list[str]) -> None:
    done = run("-m", "clickstream", *command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: {' '.join(['python -m clickstream', *command])} [-h]")
    assert "commands:" in done.stderr


def test_an_unknown_command_is_misuse() -> None:
    done = run("-m", "clickstream", "nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "invalid choice: 'nonsense'" in done.stderr


def test_no_help_text_has_markdown(parser: argparse.ArgumentParser) -> None:
    for each in parsers(parser):
        assert "`" not in each.format_help(), each.prog


def test_the_help_of_a_command_says_what_the_command_does() -> None:
    for each in parsers(commands.build_parser()):
        assert each.description, each.prog
