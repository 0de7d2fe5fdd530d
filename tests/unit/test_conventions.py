"""The house: which way imports point, what git must never see, how the code is kept."""

import argparse
import ast
import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "clickstream"
LONGEST_FUNCTION = 40
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
SCRIPT_NAMES = {name.removesuffix(".py") for name in SCRIPTS}


@cache
def modules() -> dict[str, ast.Module]:
    """The package and the scripts, by dotted name."""
    files = [*sorted((ROOT / PACKAGE).rglob("*.py")), *(ROOT / name for name in SCRIPTS)]
    return {dotted(path): ast.parse(path.read_bytes()) for path in files}


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# == Imports ====================================================================================


def imports(tree: ast.Module) -> set[str]:
    """Whatever a module imports, lazily or not, as `a.b` or as `a.b.name`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names}
    return found


def imported_modules() -> dict[str, set[str]]:
    """The project's modules that each of them imports."""
    known = modules()
    return {
        name: {found if found in known else found.rpartition(".")[0] for found in imports(tree)}
        & known.keys() - {name}
        for name, tree in known.items()
    }


def imported_rooms() -> dict[str, set[str]]:
    """The same by rooms: the folders of the package, and each module beside them."""

    def room(name: str) -> str:
        return ".".join(name.split(".")[:2])

    rooms: dict[str, set[str]] = {}
    for name, others in imported_modules().items():
        rooms.setdefault(room(name), set()).update(room(other) for other in others)
    return {name: others - {name} for name, others in rooms.items()}


def ring(graph: dict[str, set[str]]) -> list[str]:
    """Some ring of the graph; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_a_ring_would_be_found() -> None:
    assert sorted(set(ring({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}))) == ["a", "b", "c"]


def test_no_modules_import_each_other_in_a_ring() -> None:
    assert ring(imported_modules()) == []


def test_no_rooms_import_each_other_in_a_ring() -> None:
    assert ring(imported_rooms()) == []


def test_imports_are_seen_and_absolute() -> None:
    assert f"{PACKAGE}.model.events" in imported_modules()[f"{PACKAGE}.model.sessions"]
    assert f"{PACKAGE}.settings" in imported_modules()["consumer"]
    relative = [n for n, tree in modules().items() if any(i[0] == "." for i in imports(tree))]
    assert relative == []


def test_scripts_import_the_package_and_never_the_reverse() -> None:
    known = modules()
    reversed_ = [
        name for name in known.keys() - SCRIPT_NAMES if imports(known[name]) & SCRIPT_NAMES
    ]
    assert reversed_ == []
    assert not any(imported_modules()[name] & SCRIPT_NAMES for name in SCRIPT_NAMES)


@pytest.mark.parametrize(
    ("room", "others"),
    [
        ("settings", set()),
        ("clients", set()),
        ("model", set()),
        ("storage", {"clients", "model"}),
        ("consumer", {"clients", "model", "storage"}),
        # The index is a view: nothing that stores knows of it.
        ("indexer", {"clients", "model", "storage"}),
        # What a perfect consumer must store is computed without the consumer's code.
        ("simulator", set()),
    ],
)
def test_what_lies_below_knows_nothing_of_what_lies_above(room: str, others: set[str]) -> None:
    folders = {f"{PACKAGE}.{path.parent.name}" for path in (ROOT / PACKAGE).glob("*/__init__.py")}
    found = imported_rooms()[f"{PACKAGE}.{room}"] & folders
    assert found <= {f"{PACKAGE}.{other}" for other in others}


# == Requirements ===============================================================================


def requirements(file: str) -> dict[str, str]:
    """The packages of a requirements file and what stands behind their names."""
    lines = [line for line in (ROOT / file).read_text().splitlines() if line[:1].isalpha()]
    found = [re.match(r"([A-Za-z0-9._-]+)(.*)", line) for line in lines]
    return {match[1].lower(): match[2] for match in found if match}


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned(file: str) -> None:
    pinned = re.compile(r"(\[[a-z0-9,]+\])?==[0-9][0-9a-z.]*( ; [^#]+)?( +#.+)?")
    loose = [name for name, rest in requirements(file).items() if not pinned.fullmatch(rest)]
    assert requirements(file)
    assert loose == []


def test_what_production_imports_is_in_its_requirements() -> None:
    """The local servers need more, which requirements-dev.txt lists."""
    outside = {
        found.split(".")[0]
        for name, tree in modules().items()
        if not name.startswith(f"{PACKAGE}.local")
        for found in imports(tree)
    } - {*sys.stdlib_module_names, *SCRIPT_NAMES, PACKAGE}
    of = packages_distributions()
    listed = requirements("requirements.txt").keys()
    assert {name for name in outside if not {d.lower() for d in of[name]} & listed} == set()


# == What git must never see ====================================================================


def is_ignored(path: str) -> bool:
    """Whether the rules of .gitignore keep a file out, tracked or not."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    asked = subprocess.run([git, "check-ignore", "--quiet", "--no-index", path], cwd=ROOT)
    assert asked.returncode in (0, 1)
    return asked.returncode == 0


@pytest.mark.parametrize(
    "path",
    [
        *(".env", ".env.local", ".env.backup-1", "terraform/.env"),
        *("certs/ca.pem", "certs/service.cert", "certs/service.key", "certs/old/service.key"),
        *("terraform/terraform.tfvars", "terraform/mine.auto.tfvars", "prod.tfvars.json"),
        *("terraform/terraform.tfstate", "terraform/terraform.tfstate.backup"),
        *("terraform/terraform.tfstate.1700000000.backup", "terraform/mine.tfplan"),
        *("terraform/.terraform/providers/x", "terraform-output.json"),
        *("terraform/terraform-outputs.json", "truth.json", "truth-7d.json", "mine.truth.json"),
        *(".stack/stack.json", ".stack/postgres/PG_VERSION", ".demo/truth", ".venv"),
    ],
)
def test_secrets_and_local_data_are_ignored(path: str) -> None:
    assert is_ignored(path)


@pytest.mark.parametrize(
    "path",
    [
        *(".env.example", "certs/README.md", "terraform/terraform.tfvars.example"),
        *("terraform/variables.tf", "tests/data/apache_logs.events.csv.gz"),
        *("clickstream/env_file.py", "clickstream/simulator/truth.py", "event.schema.json"),
    ],
)
def test_what_belongs_to_the_project_is_not_ignored(path: str) -> None:
    assert not is_ignored(path)


# == Command lines ==============================================================================


class Built(Exception):  # noqa: N818 - not an error
    """Carries a parser out of a script's main."""


@pytest.fixture(params=[*sorted(SCRIPT_NAMES), f"{PACKAGE}.__main__"])
def parser(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> argparse.ArgumentParser:
    """The parser of a script, as its main makes it."""

    def leave(self: argparse.ArgumentParser, *_: object) -> None:
        raise Built(self)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", leave)
    with pytest.raises(Built) as built:
        importlib.import_module(request.param).main([])
    found: argparse.ArgumentParser = built.value.args[0]
    return found


def parsers(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all its commands."""
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


def test_every_option_and_command_has_its_help(parser: argparse.ArgumentParser) -> None:
    for each in parsers(parser):
        assert each.description or each.prog
        assert each.format_help()
        for action in each._actions:
            if isinstance(action, argparse._SubParsersAction):
                told = {command.dest for command in action._choices_actions if command.help}
                assert told == set(action.choices), each.prog
            else:
                assert action.help, f"{each.prog} {action.option_strings or action.dest}"


@pytest.mark.parametrize("command", [*([name] for name in SCRIPTS), ["-m", PACKAGE]])
def test_help_is_printed_and_the_exit_status_is_0(command: list[str]) -> None:
    asked = subprocess.run(
        [sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.startswith("usage: ")


# == How the code is kept =======================================================================


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_function_is_longer_than_40_lines() -> None:
    lengths = {
        f"{name}.{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for name, tree in modules().items()
        for function in functions(tree)
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public names without a docstring.

    A method that a class with a base brings, or that another class of the module documents
    (the protocol that both follow), is documented there.
    """
    said = {function.name for function in functions(tree) if ast.get_docstring(function)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and is_public(node.name):
            if not ast.get_docstring(node):
                yield node.name
            if isinstance(node, ast.ClassDef) and not node.bases:
                methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                yield from (
                    f"{node.name}.{method.name}"
                    for method in methods
                    if is_public(method.name) and method.name not in said
                )


def is_public(name: str) -> bool:
    return not name.startswith("_")


def test_every_public_function_and_class_says_what_it_does() -> None:
    silent = [f"{name}.{part}" for name, tree in modules().items() for part in undocumented(tree)]
    silent += [name for name, tree in modules().items() if not ast.get_docstring(tree)]
    assert silent == []


def test_nothing_catches_whatever_comes_to_go_on() -> None:
    caught = {
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or {"Exception", "BaseException"} & names_in(node.type))
        and not raises_again(node)
    }
    assert caught == set()


def raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def names_in(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
