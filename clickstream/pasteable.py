"""Commands in messages, changed so that they run when a user pastes them into the same terminal."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from clickstream.sources import working_directory

PROJECT = Path(__file__).parents[1]
COMMAND = re.compile(
    r"\bpython (?:(?P<package>-m clickstream)\b|(?P<pip>-m pip)\b|(?P<script>[a-z_]+\.py)\b)"
)
REQUIREMENTS = re.compile(r"(?<=-r )requirements[a-z-]*\.txt\b")


def pasteable(text: str) -> str:
    """Return a text with commands that run in the working directory and with this interpreter.

    A command such as "python summary.py" stays as it is in the project's folder while the virtual
    environment is activated. Otherwise it gets the path of the interpreter and of the script.
    """
    changed = COMMAND.sub(lambda found: _command(found), text)
    return REQUIREMENTS.sub(lambda found: _path(PROJECT / found[0]), changed)


def _command(found: re.Match[str]) -> str:
    if found["script"]:
        return f"{_interpreter()} {_path(PROJECT / found['script'])}"
    if found["pip"] or working_directory() == PROJECT or str(PROJECT) in _python_path():
        return f"{_interpreter()} {found['package'] or found['pip']}"
    return f"PYTHONPATH={shlex.quote(str(PROJECT))} {_interpreter()} {found['package']}"


def _interpreter() -> str:
    """Return "python" if a shell finds this interpreter under that name, else its path."""
    folder = Path(sys.executable).parent
    on_path = shutil.which("python")
    if on_path and Path(on_path).absolute().parent == folder:
        return "python"
    return _path(Path(sys.executable))


def _path(path: Path) -> str:
    """Return a path relative to the working directory if it is in it; quoted for a shell."""
    folder = working_directory()
    if folder and path.is_relative_to(folder):
        path = path.relative_to(folder)
    return shlex.quote(str(path))


def _python_path() -> list[str]:
    return os.environ.get("PYTHONPATH", "").split(os.pathsep)
