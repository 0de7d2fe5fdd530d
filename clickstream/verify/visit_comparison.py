"""Comparison of sources, session numbers and bots with those of a truth file.

A truth file of an earlier version does not have them; then nothing is compared. Sessions that are
missing are found by the comparison of the sessions.
"""

import json
from collections.abc import Iterator

from clickstream.clients.postgres import Connection, Cursor, only_row
from clickstream.storage.query_rows import stream_rows
from clickstream.verify.differences import different_fields

# By their names in the truth file and in the view session_sources.
SOURCE_COLUMNS = ("source", "medium", "channel", "campaign", "term", "content", "click_network")
COMPARED_COLUMNS = (*SOURCE_COLUMNS, "session_number")

# The values of each session in the truth file that are not its metrics.
CREATE_TRUE_VISITS = """
    CREATE TEMPORARY TABLE true_visits (
        user_id text COLLATE "C", first_event_timestamp timestamptz, first_event_id uuid,
        source text, medium text, channel text, campaign text, term text, content text,
        click_network text, session_number bigint, is_bot boolean
    ) ON COMMIT DROP
"""
INSERT_TRUE_VISITS = """
    INSERT INTO true_visits
    SELECT * FROM jsonb_populate_recordset(NULL::true_visits, %s::jsonb) WHERE source IS NOT NULL
"""
# Without statistics the comparison would be planned for a small table.
ANALYZE_TRUE_VISITS = "ANALYZE true_visits"
# Sessions with another source or number, by visitor and time. A missing session would change the
# numbers of others, so they are compared only if the visitor has as many sessions as in the truth.
SELECT_DIFFERENT_SOURCES = f"""
    WITH stored AS MATERIALIZED (
        SELECT m.user_id, m.first_event_timestamp, m.first_event_id, {", ".join(COMPARED_COLUMNS)},
               count(*) OVER (PARTITION BY m.user_id) AS sessions
        FROM session_metrics m JOIN session_sources USING (session_id)
        WHERE EXISTS (SELECT FROM true_visits)),
    expected AS (
        SELECT *, count(*) OVER (PARTITION BY user_id) AS sessions FROM true_visits)
    SELECT user_id, to_json(first_event_timestamp) #>> '{{}}',
           (to_jsonb(t) - ARRAY['is_bot'])::text, to_jsonb(s)::text
    FROM expected t
    JOIN stored s USING (user_id, first_event_timestamp, first_event_id)
    WHERE ({", ".join(f"t.{name}" for name in SOURCE_COLUMNS)})
          IS DISTINCT FROM ({", ".join(f"s.{name}" for name in SOURCE_COLUMNS)})
       OR (t.sessions = s.sessions AND t.session_number <> s.session_number)
    ORDER BY user_id, first_event_timestamp
"""  # noqa: S608 - built of column names
# Sessions that are marked as a bot's or as a person's, and are not; unparsed texts are left out.
SELECT_DIFFERENT_BOTS = """
    SELECT t.user_id, to_json(t.first_event_timestamp) #>> '{}', t.is_bot, s.user_agent
    FROM true_visits t
    JOIN session_user_agents s ON (s.user_id, s.first_event_timestamp)
                                = (t.user_id, t.first_event_timestamp)
    WHERE s.is_bot <> t.is_bot
    ORDER BY t.user_id, t.first_event_timestamp
"""
# Sessions whose user agent is not parsed yet.
COUNT_UNPARSED = """
    SELECT count(*)
    FROM true_visits t
    JOIN session_user_agents s ON (s.user_id, s.first_event_timestamp)
                                = (t.user_id, t.first_event_timestamp)
    WHERE t.is_bot IS NOT NULL AND s.is_bot IS NULL
"""


def create_true_visits(cursor: Cursor) -> None:
    """Create the temporary table of the comparison; it lasts until the end of the transaction."""
    cursor.execute(CREATE_TRUE_VISITS)


def insert_true_visits(cursor: Cursor, sessions: str) -> None:
    """Copy sessions of a truth file into the temporary table. sessions: as a JSON array."""
    cursor.execute(INSERT_TRUE_VISITS, [sessions])


def analyze_true_visits(cursor: Cursor) -> None:
    """Let the comparison be planned for the number of sessions that were copied."""
    cursor.execute(ANALYZE_TRUE_VISITS)


def visit_differences(connection: Connection) -> Iterator[str]:
    """Yield a sentence for each session with another source or number, and for each wrong bot."""
    for user_id, began, *sides in stream_rows(connection, SELECT_DIFFERENT_SOURCES, {}):
        truth, stored = map(json.loads, sides)
        yield f"source of the session of {user_id} from {began}: {different_fields(truth, stored)}"
    for user_id, began, is_bot, agent in stream_rows(connection, SELECT_DIFFERENT_BOTS, {}):
        truth, mark = ("a bot", "a person") if is_bot else ("a person", "a bot")
        yield f"session of {user_id} from {began}: of {truth}, but marked as {mark}: {agent}"


def count_unparsed(cursor: Cursor) -> int:
    """Return the number of sessions whose user agent is not parsed yet, so bots are not known."""
    cursor.execute(COUNT_UNPARSED)
    return int(only_row(cursor)[0])
