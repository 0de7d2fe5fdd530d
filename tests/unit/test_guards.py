"""guards.toml fits the code: `make guards` can remove each safeguard."""

import subprocess
import sys

import pytest

from tests.guards.guards import ROOT, Guard, read_guards

GUARDS = read_guards()
PAGE = ROOT / "docs" / "guarantees.md"


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_the_text_of_a_guard_occurs_once_in_its_file(guard: Guard) -> None:
    assert (ROOT / guard.file).read_text().count(guard.text) == 1


@pytest.mark.parametrize(
    "guard", [each for each in GUARDS if each.file.endswith(".py")], ids=lambda guard: guard.name
)
def test_the_code_without_a_safeguard_names_nothing_undefined(guard: Guard) -> None:
    """A NameError would fail the test of the guard, too."""
    without = (ROOT / guard.file).read_text().replace(guard.text, guard.without)
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "-"]
    checked = subprocess.run(ruff, input=without, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_the_test_of_a_guard_exists_and_the_page_names_it(guard: Guard) -> None:
    file, _, test = guard.test.partition("::")
    assert f"def {test}(" in (ROOT / file).read_text()
    assert f"`{test}`" in PAGE.read_text()
