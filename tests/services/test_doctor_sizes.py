"""The doctor says how large everything is and how much a day adds, and warns of few connections."""

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from clickstream.clients.postgres import Connection
from clickstream.doctor.connection_limits import check_limits
from clickstream.doctor.database_size import SAMPLED_PAGES, check_growth, check_size
from clickstream.errors import UserError
from clickstream.settings import Settings
from tests.services.databases import Query
from tests.services.records import event, send
from tests.services.scripts import RunScript

# Events of 20 days, the same number in each hour.
INSERT_EVENTS = """
    INSERT INTO clickstream_events (event_id, event_time, event_type, user_id, page_url, stored_at)
    SELECT gen_random_uuid(), stored_at, 'page_view', number::text, repeat('x', 400), stored_at
    FROM generate_series(1, %(number)s) AS number,
         LATERAL (SELECT now() - number * interval '20 days' / %(number)s) AS at (stored_at)
"""
# They take more than the sampled pages.
EVENTS = 20 * SAMPLED_PAGES
PAGES = "SELECT pg_relation_size('clickstream_events') / current_setting('block_size')::integer"
TOTAL_BYTES = "SELECT pg_total_relation_size('clickstream_events')"


def test_size_and_growth_are_those_of_the_stored_events(
    connection: Connection, query: Query
) -> None:
    assert check_growth(connection) == "not enough data yet: it takes the events of a day"
    query(INSERT_EVENTS, {"number": EVENTS})
    query("ANALYZE clickstream_events")
    ((pages,),), ((total,),) = query(PAGES), query(TOTAL_BYTES)
    assert pages > SAMPLED_PAGES
    assert f"events {total / 1e6:.0f} MB (about {EVENTS:,} rows)" in check_size(connection)
    found = re.fullmatch(
        r"about ([0-9.]+) MB and ([0-9,]+) events a day, measured over 7\.0 days; .+ in 30 days",
        check_growth(connection),
    )
    assert found
    assert float(found[1]) == pytest.approx(total / 1e6 / 20, rel=0.2)
    assert int(found[2].replace(",", "")) == pytest.approx(EVENTS / 20, rel=0.1)
    query("UPDATE clickstream_events SET stored_at = stored_at - interval '8 days'")
    assert check_growth(connection) == "no events in the last 7 days"


def test_the_doctor_shows_the_sizes_of_tables_and_indexes(
    environment: dict[str, str], search: dict[str, str], run_script: RunScript
) -> None:
    send(environment, [event("v", 0), event("v", 60), b"not JSON"])
    assert run_script("consumer.py", "--drain", **search).returncode == 0
    done = run_script("clickstream", "doctor", **search)
    for line in (
        r"ok +connections +[0-9]+ left for the pipeline, which needs 8 with one consumer and 4 ",
        r"ok +size +.+, of which indexes .+: events .+, sessions .+, rejected records ",
        r"ok +growth +not enough data yet",
        r"ok +size +.+, [0-9]+ documents",
    ):
        assert re.search(line, done.stdout), done.stdout


@pytest.fixture
def limited(query: Query, maintenance: Callable[[str], None]) -> Iterator[str]:
    """The name of a role with CONNECTION LIMIT 8, which the test's connection acts as."""
    role = f"test_{secrets.token_hex(6)}"
    maintenance(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 8")
    query(f"SET ROLE {role}")
    yield role
    query("RESET ROLE")
    maintenance(f"DROP ROLE {role}")


def test_a_connection_limit_that_is_too_small_is_a_problem_with_its_remedy(
    settings: Settings, connection: Connection, limited: str, maintenance: Callable[[str], None]
) -> None:
    """A limit of the role, and one of the database. The test has a connection to it."""
    searching = replace(settings, opensearch_host="127.0.0.1")
    assert check_limits(searching, connection).startswith("8 left for the pipeline, which needs 8")
    maintenance(f"ALTER ROLE {limited} CONNECTION LIMIT 7")
    assert check_limits(settings, connection).startswith("7 left for the pipeline, which needs 7")
    with pytest.raises(UserError, match=f"; .*ALTER ROLE {limited} CONNECTION LIMIT -1"):
        check_limits(searching, connection)
    maintenance(f"ALTER ROLE {limited} CONNECTION LIMIT -1")
    database = settings.postgres_database
    maintenance(f"ALTER DATABASE {database} CONNECTION LIMIT 5")
    with pytest.raises(UserError, match=r"4 connections .* \(5, of which 1 .*; .*ALTER DATABASE"):
        check_limits(settings, connection)
