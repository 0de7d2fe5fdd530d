"""The Terraform module: its own tests, and properties that Terraform does not check."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clickstream.indexer.index_names import IndexNames
from clickstream.indexer.templates import templates
from clickstream.settings import Settings

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "terraform"
README = MODULE / "README.md"
# Serves the provider's schema, if it is present beside this checkout.
STUB = ROOT.parent / "shared" / "terraform" / "tfstub.py"
INIT_SECONDS = 120
TEST_SECONDS = 120

Terraform = Callable[..., subprocess.CompletedProcess[str]]


def run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    # Terraform's garbage collector otherwise takes a third of its time.
    environment = {**os.environ, "GOGC": "400"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


def can_download_provider(command: list[str]) -> bool:
    """Run terraform init; return False if the provider cannot be downloaded."""
    try:
        done = run([*command, "init", "-backend=false", "-no-color"], INIT_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    if re.search(r"Failed to (query available provider|install provider)", done.stderr):
        return False
    assert done.returncode == 0, done.stderr
    return True


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the module, and of the job of Flink that it deploys."""
    folder = tmp_path_factory.mktemp("terraform")
    shutil.copytree(ROOT / "flink", folder / "flink")
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
    return shutil.copytree(MODULE, folder / "module", ignore=ignored)


@pytest.fixture(scope="module")
def terraform(copy: Path) -> Terraform:
    """Runs Terraform on the copy; skips the test if it or its provider is missing."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    command = ["terraform", f"-chdir={copy}"]
    if STUB.is_file():
        if importlib.util.find_spec("grpc") is None:
            pytest.skip(f"{STUB.name} needs the packages of its requirements.txt")
        command = [sys.executable, str(STUB), *command]
    elif not can_download_provider(command):
        pytest.skip("terraform init cannot download the provider")
    return lambda *arguments: run([*command, *arguments, "-no-color"], TEST_SECONDS)


def test_the_files_are_formatted() -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    done = run(["terraform", "fmt", "-check", "-recursive", "-diff", str(MODULE)], TEST_SECONDS)
    assert done.returncode == 0, done.stdout


def test_the_module_is_valid_without_warnings(terraform: Terraform) -> None:
    done = terraform("validate")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stdout


@pytest.mark.long
def test_the_tests_of_the_module_pass(terraform: Terraform) -> None:
    done = terraform("test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Success! \d\d passed, 0 failed", done.stdout)


def test_the_example_of_the_readme_is_valid(terraform: Terraform, copy: Path) -> None:
    (text,) = re.findall(r"^```hcl\n(.+?)^```", README.read_text(), flags=re.M | re.S)
    added = copy / "shop.tf"
    added.write_text(text)
    valid, formatted = terraform("validate"), terraform("fmt", "-check", "-diff")
    added.unlink()
    assert valid.returncode == 0, valid.stderr
    assert "Warning" not in valid.stdout
    assert formatted.returncode == 0, formatted.stdout


# == Properties that Terraform does not check ===================================================


def blocks(kind: str, file: str) -> dict[str, str]:
    """Return the text of each block of a kind, by its label."""
    parts = re.split(rf"^{kind} ", (MODULE / file).read_text(), flags=re.M)[1:]
    return {part.split('"')[1]: part for part in parts}


def test_every_variable_is_described_and_checked() -> None:
    for name, text in blocks("variable", "variables.tf").items():
        assert "description = " in text, name
        assert "type        = " in text or "type = " in text, name
        assert "validation {" in text or "= bool" in text, name
        assert "sensitive   = true" in text or not re.search("password|secret|token", name), name


def test_every_validation_is_tested() -> None:
    """Every variable with a validation is expected to fail in some run of the module's tests."""
    tested = set(re.findall(r"var\.(\w+)\]", (MODULE / "tests/validations.tftest.hcl").read_text()))
    checked = {
        name for name, text in blocks("variable", "variables.tf").items() if "validation {" in text
    }
    assert checked == tested


def test_every_output_is_described() -> None:
    for name, text in blocks("output", "outputs.tf").items():
        assert "description = " in text, name


def test_the_example_names_every_variable_and_no_other() -> None:
    example = (MODULE / "terraform.tfvars.example").read_text()
    named = set(re.findall(r"^#?\s?(\w+)\s+=", example, flags=re.M))
    assert named == blocks("variable", "variables.tf").keys()


@pytest.mark.parametrize("page", ["README.md", "terraform/README.md"])
def test_the_readme_names_only_resources_outputs_and_variables_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    sources = "".join(path.read_text() for path in [*MODULE.glob("*.tf"), README])
    made = {".".join(names) for names in re.findall(r'^resource "(\w+)" "(\w+)"', sources, re.M)}
    assert set(re.findall(r"\b(aiven_\w+\.\w+)", text)) <= made
    outputs = set(re.findall(r"terraform output (?:-raw )?(\w+)", text))
    assert outputs <= blocks("output", "outputs.tf").keys()
    assigned = set(re.findall(r"`(\w+) = ", text))
    assert assigned
    assert assigned <= blocks("variable", "variables.tf").keys()


def test_the_doctor_checks_the_indexes_that_the_access_rules_allow() -> None:
    (rules,) = re.findall(r'toset\(\[("clickstream.+?)\]\)', (MODULE / "opensearch.tf").read_text())
    allowed = set(re.findall(r'"(.+?)"', rules))
    names = IndexNames(Settings().opensearch_index_prefix)
    assert allowed == {*names.patterns, names.state}
    templates_for = {name for each in templates(names).values() for name in each["index_patterns"]}
    assert set(names.patterns) == templates_for


def test_no_file_contains_a_token() -> None:
    for path in MODULE.rglob("*.tf*"):
        assert "api_token" not in path.read_text(), path
