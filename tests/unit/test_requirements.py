"""The requirements files: pinned versions, and everything that production imports."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

import pytest

from clickstream import installation
from tests.unit.source_files import PACKAGE, ROOT, SCRIPTS, modules

FILES = [
    *("requirements.txt", "requirements-collector.txt", "requirements-flink.txt"),
    "requirements-dev.txt",
]
PINNED = re.compile(r"(\[[a-z0-9,]+\])?==[0-9][0-9a-z.]*( ; [^#]+)?( +#.+)?")


def requirements(file: str) -> dict[str, str]:
    """Return the packages of a requirements file, each with the text after its name."""
    lines = [line for line in (ROOT / file).read_text().splitlines() if line[:1].isalpha()]
    found = [re.match(r"([A-Za-z0-9._-]+)(.*)", line) for line in lines]
    return {match[1].lower(): match[2] for match in found if match}


def imported_packages(tree: ast.Module) -> set[str]:
    """Return the top-level names that a module imports, also inside of functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("file", FILES)
def test_requirements_are_pinned(file: str) -> None:
    found = requirements(file)
    assert found
    assert [name for name, rest in found.items() if not PINNED.fullmatch(rest)] == []


def test_requirements_txt_lists_all_that_production_imports() -> None:
    """The local servers, the collector and Flink need more, which other files list."""
    others = (f"{PACKAGE}.local", f"{PACKAGE}.collector", f"{PACKAGE}.flink")
    production = [tree for name, tree in modules().items() if not name.startswith(others)]
    imported = set().union(*map(imported_packages, production))
    scripts = {name.removesuffix(".py") for name in SCRIPTS}
    only_for_mypy = {"_typeshed"}
    foreign = imported - {*sys.stdlib_module_names, *scripts, *only_for_mypy, PACKAGE}
    distributions = packages_distributions()
    listed = requirements("requirements.txt").keys()
    missing = {name for name in foreign if not {d.lower() for d in distributions[name]} & listed}
    assert foreign
    assert missing == set()


def test_a_script_checks_that_every_package_of_requirements_txt_is_installed() -> None:
    assert {"crc32c"} | requirements("requirements.txt").keys() == set(
        installation.PACKAGES.values()
    )


def test_the_collector_checks_that_its_packages_are_installed() -> None:
    """uvloop is not there on Windows."""
    assert {"uvloop"} | set(installation.COLLECTOR_PACKAGES.values()) == set(
        requirements("requirements-collector.txt")
    )


def test_pre_commit_runs_the_ruff_of_requirements_dev_txt() -> None:
    pre_commit = (ROOT / ".pre-commit-config.yaml").read_text()
    (version,) = re.findall(r"ruff-pre-commit\n +rev: v(\S+)", pre_commit)
    assert requirements("requirements-dev.txt")["ruff"].startswith(f"=={version} ")
