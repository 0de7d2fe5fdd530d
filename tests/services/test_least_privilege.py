"""A PostgreSQL role that owns neither its database nor anything in it, as on managed servers."""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest

from clickstream.clients.postgres import connect
from clickstream.doctor import postgres_checks
from clickstream.doctor.checks import CheckStatus, run_checks
from clickstream.local import search_server as local_search
from clickstream.local.temporary import temporary_stack
from clickstream.settings import Settings
from tests.pki import Authority
from tests.services.http_proxy import index_rules_proxy
from tests.services.scripts import RunScript
from tests.services.terraform_outputs import write_outputs

CREATE_ROLE = "CREATE ROLE \"{role}\" LOGIN PASSWORD '{password}'"
CREATE_DATABASE = 'CREATE DATABASE "{database}" OWNER "{owner}"'
# The default since PostgreSQL 15.
REVOKE_PUBLIC_SCHEMA = "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
DROP_DATABASE = 'DROP DATABASE "{database}" WITH (FORCE)'
DROP_ROLE = 'DROP ROLE "{role}"'
OPENSEARCH_RULES = Path(__file__).parents[2] / "terraform" / "opensearch.tf"
GRANT = re.compile(r'GRANT CREATE ON DATABASE "\w+" TO "\w+"')


@dataclass(frozen=True, slots=True)
class RestrictedDatabase:
    """Settings of one database for three roles. pipeline: may connect, no more."""

    pipeline: Settings
    owner: Settings
    stranger: Settings

    def environment(self) -> dict[str, str]:
        """Return the variables by which the scripts use it as the role of the pipeline."""
        return {
            "POSTGRES_DATABASE": self.pipeline.postgres_database,
            "POSTGRES_USER": self.pipeline.postgres_user,
            "POSTGRES_PASSWORD": self.pipeline.postgres_password,
        }


@pytest.fixture
def restricted(
    settings: Settings, maintenance: Callable[[str], None]
) -> Iterator[RestrictedDatabase]:
    """Create a database that a role of its own owns."""
    name = secrets.token_hex(6)
    password = secrets.token_hex(16)
    roles = {kind: f"test_{kind}_{name}" for kind in ("pipeline", "owner", "stranger")}
    for role in roles.values():
        maintenance(CREATE_ROLE.format(role=role, password=password))
    maintenance(CREATE_DATABASE.format(database=f"test_{name}", owner=roles["owner"]))
    database = replace(settings, postgres_database=f"test_{name}")
    with closing(connect(database, application="test")) as connection:
        connection.autocommit = True
        connection.cursor().execute(REVOKE_PUBLIC_SCHEMA)
    yield RestrictedDatabase(
        **{
            kind: replace(database, postgres_user=role, postgres_password=password)
            for kind, role in roles.items()
        }
    )
    maintenance(DROP_DATABASE.format(database=f"test_{name}"))
    for role in roles.values():
        maintenance(DROP_ROLE.format(role=role))


def execute(settings: Settings, statement: str) -> None:
    with closing(connect(settings, application="test")) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


def test_create_schema_prints_the_missing_grant_and_works_after_it(
    restricted: RestrictedDatabase, run_script: RunScript
) -> None:
    refused = run_script("create_schema.py", **restricted.environment())
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    found = GRANT.search(refused.stderr)
    assert found, refused.stderr

    execute(restricted.owner, found[0])
    for _ in range(2):
        done = run_script("create_schema.py", **restricted.environment())
        assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_the_whole_pipeline_needs_no_other_grant(
    restricted: RestrictedDatabase, run_script: RunScript, tmp_path: Path
) -> None:
    role, database = restricted.pipeline.postgres_user, restricted.pipeline.postgres_database
    execute(restricted.owner, f'GRANT CREATE ON DATABASE "{database}" TO "{role}"')
    events = tmp_path / "events.ndjson"
    events.write_text(
        "".join(
            json.dumps({"event_type": "click", "user_id": f"u{number % 3}", "timestamp": number})
            + "\n"
            for number in range(1_700_000_000, 1_700_000_100)
        )
    )
    for command in (
        ["create_schema.py"],
        ["clickstream", "doctor"],
        ["producer.py", "--replay", str(events)],
        ["consumer.py", "--drain"],
        ["summary.py", "--verify"],
        ["create_schema.py", "--rebuild-sessions"],
        ["summary.py", "--verify"],
    ):
        done = run_script(*command, **restricted.environment())
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def test_the_whole_pipeline_runs_under_the_opensearch_rules_of_the_terraform_module(
    run_script: RunScript, tmp_path: Path
) -> None:
    if not local_search.is_available():
        pytest.skip("no OpenSearch-compatible server for this platform")
    (rules,) = re.findall(r'toset\(\[("clickstream.+?)\]\)', OPENSEARCH_RULES.read_text())
    with temporary_stack(tmp_path / "own-search", ["opensearch"]) as own:
        upstream = (own["OPENSEARCH_HOST"], int(own["OPENSEARCH_PORT"]))
        with index_rules_proxy(upstream, re.findall(r'"(.+?)"', rules)) as port:
            search = {
                "OPENSEARCH_HOST": "127.0.0.1",
                "OPENSEARCH_PORT": str(port),
                "OPENSEARCH_USE_SSL": "false",
            }
            for command in (
                ["create_schema.py"],
                ["clickstream", "doctor"],
                ["producer.py", "--events", "200", "--backfill", "40d", "--seed", "1"],
                ["consumer.py", "--drain"],
                ["clickstream", "doctor"],
            ):
                done = run_script(*command, **search)
                assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
                assert not re.search(r"\b403\b", done.stderr), done.stderr


def test_grant_gives_the_rights_that_create_schema_needs(
    restricted: RestrictedDatabase, run_script: RunScript, tmp_path: Path
) -> None:
    path = write_outputs(restricted.pipeline, restricted.owner, Authority("CA"), tmp_path)
    for _ in range(2):
        done = run_script("clickstream", "grant", "--from", str(path), **restricted.environment())
        assert done.returncode == 0, done.stderr
        assert restricted.owner.postgres_password not in done.stdout + done.stderr
    done = run_script("create_schema.py", **restricted.environment())
    assert done.returncode == 0, done.stderr


def test_grant_says_if_the_administrator_has_no_right_to_grant(
    restricted: RestrictedDatabase, run_script: RunScript, tmp_path: Path
) -> None:
    path = write_outputs(restricted.pipeline, restricted.stranger, Authority("CA"), tmp_path)
    done = run_script("clickstream", "grant", "--from", str(path), **restricted.environment())
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "grant" in done.stderr.lower()


def test_grant_sends_the_administrators_password_to_no_other_server(
    restricted: RestrictedDatabase, run_script: RunScript, tmp_path: Path
) -> None:
    elsewhere = replace(restricted.pipeline, postgres_host="pg.example")
    path = write_outputs(elsewhere, restricted.owner, Authority("CA"), tmp_path)
    done = run_script("clickstream", "grant", "--from", str(path), **restricted.environment())
    assert done.returncode == 1
    assert "python -m clickstream env" in done.stderr


def test_the_doctor_prints_the_missing_grants_and_they_suffice(
    restricted: RestrictedDatabase, run_script: RunScript
) -> None:
    as_owner = {**restricted.environment(), "POSTGRES_USER": restricted.owner.postgres_user}
    run_script("create_schema.py", **as_owner)
    checks = list(run_checks(postgres_checks.checks(restricted.pipeline, datetime.now(UTC))))
    (problem,) = [found for found in checks if found.status is CheckStatus.PROBLEM]
    assert problem.name == "rights"

    execute(restricted.owner, problem.text.partition("run: ")[2])
    checks = list(run_checks(postgres_checks.checks(restricted.pipeline, datetime.now(UTC))))
    assert {found.status for found in checks} == {CheckStatus.OK}


def test_create_schema_refuses_tables_that_another_role_owns(
    restricted: RestrictedDatabase, run_script: RunScript
) -> None:
    as_owner = {**restricted.environment(), "POSTGRES_USER": restricted.owner.postgres_user}
    run_script("create_schema.py", **as_owner)
    execute(restricted.owner, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    done = run_script("create_schema.py", **restricted.environment())
    assert done.returncode == 1
    assert "as the role that created them" in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(restricted.pipeline, "DELETE FROM clickstream_events")
