"""The pages name only files and tests that exist, and ARCHITECTURE.md stays one page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
PAGES = [
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "flink/README.md"),
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/*.md"))),
]
LONGEST_PAGE = 200
LONGEST_GLOSSARY = 30
# Files that a user makes.
MADE = {"shop.tf", "report.html", "report.json"}


def test_the_architecture_is_one_page() -> None:
    assert len(ARCHITECTURE.read_text().splitlines()) <= LONGEST_PAGE


def test_the_glossary_has_few_words_and_in_order() -> None:
    (glossary,) = re.findall(r"^## Glossary\n(.+?)^## ", ARCHITECTURE.read_text(), re.M | re.S)
    words = re.findall(r"^\| (.+?) \|", glossary, re.M)[1:]
    assert len(words) <= LONGEST_GLOSSARY
    assert words == sorted(words)


def test_every_test_that_guards_an_invariant_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", ARCHITECTURE.read_text()))
    tests = "".join(path.read_text() for path in ROOT.glob("tests/*/test_*.py"))
    assert named
    assert {name for name in named if f"def {name}(" not in tests} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"[`(]([\w./-]+\.(?:py|sql|md|toml|tf|sh|json|yaml))\b", text)) - MADE
    folders = (ROOT, ROOT / "clickstream", ROOT / "terraform", (ROOT / page).parent)
    missing = {name for name in named if not any((folder / name).exists() for folder in folders)}
    assert missing == set()


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([\w-]+))?\)", (ROOT / page).read_text())
    for target, anchor in links:
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        assert not anchor or anchor in headings(path), anchor


def headings(path: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub names them."""
    titles = re.findall(r"^#+ (.+)", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_folder_that_a_page_names_exists(page: str) -> None:
    named = set(re.findall(r"^\| `(\w+)/` \|", (ROOT / page).read_text(), re.M))
    assert {name for name in named if not (ROOT / "clickstream" / name).is_dir()} == set()


def test_the_capacity_table_is_that_of_the_model() -> None:
    computed = subprocess.check_output([sys.executable, "docs/capacity.py"], cwd=ROOT, text=True)
    assert computed in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
