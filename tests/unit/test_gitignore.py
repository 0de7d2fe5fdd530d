""".gitignore: keeps secrets and local data out, and nothing that belongs to the project."""

import shutil
import subprocess

import pytest

from tests.unit.source_files import ROOT

SECRET_OR_LOCAL = [
    *(".env", ".env.local", ".env.backup-1", "terraform/.env"),
    *("certs/ca.pem", "certs/service.cert", "certs/service.key", "certs/old/service.key"),
    *("terraform/terraform.tfvars", "terraform/mine.auto.tfvars", "prod.tfvars.json"),
    *("terraform/terraform.tfstate", "terraform/terraform.tfstate.backup"),
    *("terraform/terraform.tfstate.1700000000.backup", "terraform/mine.tfplan"),
    *("terraform/.terraform/providers/x", "terraform-output.json"),
    *("terraform/terraform-outputs.json", "truth.json", "truth-7d.json", "mine.truth.json"),
    *(".stack/stack.json", ".stack/postgres/PG_VERSION", ".demo/truth", ".venv"),
    "erased-visitors.jsonl",
]
PART_OF_THE_PROJECT = [
    *(".env.example", "certs/README.md", "terraform/terraform.tfvars.example"),
    *("terraform/variables.tf", "tests/data/apache_logs.events.csv.gz"),
    *("clickstream/env_file.py", "clickstream/simulator/truth.py", "event.schema.json"),
]


def is_ignored(path: str) -> bool:
    """Return True if .gitignore excludes a file, tracked or not."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    done = subprocess.run([git, "check-ignore", "--quiet", "--no-index", path], cwd=ROOT)
    assert done.returncode in (0, 1)
    return done.returncode == 0


@pytest.mark.parametrize("path", SECRET_OR_LOCAL)
def test_secrets_and_local_data_are_ignored(path: str) -> None:
    assert is_ignored(path)


@pytest.mark.parametrize("path", PART_OF_THE_PROJECT)
def test_files_of_the_project_are_not_ignored(path: str) -> None:
    assert not is_ignored(path)
