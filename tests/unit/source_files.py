"""The package and the scripts, parsed for the tests of their code."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "clickstream"
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))


@cache
def modules() -> dict[str, ast.Module]:
    """Return the syntax trees of the package and of the scripts, by dotted name."""
    files = [*sorted((ROOT / PACKAGE).rglob("*.py")), *(ROOT / name for name in SCRIPTS)]
    return {_dotted_name(path): ast.parse(path.read_bytes()) for path in files}


def _dotted_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
