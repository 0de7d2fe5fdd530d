"""The safeguards of the product, each with the test that must fail without it: guards.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUARDS_FILE = Path(__file__).with_name("guards.toml")


@dataclass(frozen=True, slots=True)
class Guard:
    """A safeguard.

    file: path below the project. text: the code that is the safeguard; it occurs once in the file.
    without: the code that replaces it. test: the pytest id of the test that must fail then.
    """

    name: str
    file: str
    text: str
    without: str
    test: str


def read_guards() -> list[Guard]:
    """Return the guards in the order of the file."""
    with GUARDS_FILE.open("rb") as file:
        return [Guard(**entry) for entry in tomllib.load(file)["guard"]]
