"""Terraform's outputs: reading `terraform output -json`."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from clickstream.errors import UserError

# Outputs of a remote state are read over the network.
TERRAFORM_TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The outputs that are used. Those with a default are absent without OpenSearch.

    Secrets are not in the repr.
    """

    kafka_bootstrap_servers: str
    kafka_topic: str
    kafka_topic_partitions: int
    project_ca_cert: str = field(repr=False)
    kafka_access_cert: str = field(repr=False)
    kafka_access_key: str = field(repr=False)
    postgres_host: str
    postgres_port: int
    postgres_database: str
    postgres_user: str
    postgres_password: str = field(repr=False)
    postgres_admin_user: str
    postgres_admin_password: str = field(repr=False)
    opensearch_sink: str
    opensearch_host: str = ""
    opensearch_port: int = 443
    opensearch_user: str = ""
    opensearch_password: str = field(repr=False, default="")
    opensearch_dashboards_url: str = ""


def read(terraform: Path, file: Path | None) -> Outputs:
    """Read the outputs from a file or, without one, from the module in the folder `terraform`.

    Raises UserError with the remedy.
    """
    return (
        parse(_from_file(file), str(file))
        if file
        else parse(_run_terraform(terraform), str(terraform))
    )


def parse(text: str, origin: str) -> Outputs:
    """Parse the JSON of `terraform output -json`.

    origin: the file or folder, for errors. Raises UserError for missing or malformed outputs.
    """
    values = _values(text, origin)
    if not values:
        raise UserError(
            f"there are no outputs in {origin}: nothing has been applied yet; "
            "run: terraform -chdir=terraform apply"
        )
    _refuse_missing(values, origin)
    _refuse_wrong(values, origin)
    known = {item.name for item in fields(Outputs)}
    return Outputs(**{name: value for name, value in values.items() if name in known})


def _refuse_missing(values: Mapping[str, Any], origin: str) -> None:
    without_opensearch = values.get("opensearch_sink") == "none"
    missing = [
        item.name
        for item in fields(Outputs)
        if item.name not in values and not (without_opensearch and item.default is not MISSING)
    ]
    if missing:
        raise UserError(
            f"{origin} lacks the outputs {', '.join(missing)}: the apply is incomplete, or of "
            "another version; run it again: terraform -chdir=terraform apply"
        )


def _refuse_wrong(values: Mapping[str, Any], origin: str) -> None:
    wrong = [
        item.name
        for item in fields(Outputs)
        if item.name in values and type(values[item.name]) is not item.type
    ]
    if wrong:
        raise UserError(
            f"the outputs {', '.join(wrong)} in {origin} do not have the types of "
            "terraform/outputs.tf; save the output of: terraform output -json"
        )


def _values(text: str, origin: str) -> Mapping[str, Any]:
    """Return output name to value, without null values."""
    try:
        entries = json.loads(text)
        values = {name: entry["value"] for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{origin} is not the output of: terraform output -json") from None
    return {name: value for name, value in values.items() if value is not None}


def _from_file(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file} is not the output of: terraform output -json") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; check --from") from None


def _run_terraform(folder: Path) -> str:
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder}; run this in the project folder, or give --terraform"
        )
    try:
        done = subprocess.run(
            ["terraform", f"-chdir={folder}", "output", "-json", "-no-color"],  # noqa: S607 - from PATH
            capture_output=True,
            text=True,
            timeout=TERRAFORM_TIMEOUT_SECONDS,
            check=False,
        )
    except OSError:
        raise UserError(
            "terraform is not installed, or is not in the PATH; install it "
            "(https://developer.hashicorp.com/terraform/install), or run terraform output -json on "
            "another machine and give its output with --from FILE"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(
            f"terraform output in {folder} did not end within {TERRAFORM_TIMEOUT_SECONDS} s; "
            "check that its state can be reached"
        ) from None
    if done.returncode != 0:
        raise UserError(f"terraform output failed in {folder}: {_reason(done.stderr)}")
    return done.stdout


def _reason(stderr: str) -> str:
    """Return the first error in Terraform's message, without the drawn box."""
    lines = [line.strip(" │╷╵") for line in stderr.splitlines()]
    return next((line for line in lines if line.startswith("Error")), " ".join(lines).strip())
