"""The table user_agents: one row for each distinct user-agent text of the events."""

from collections.abc import Iterable, Mapping

from clickstream.clients.postgres import Cursor
from clickstream.model.user_agents import ParsedUserAgent

# Another process may insert the same text at the same time.
INSERT_USER_AGENTS = """
    INSERT INTO user_agents
        (user_agent, browser, browser_version, os, os_version, device_type, bot_reason,
         rules_version)
    SELECT *, %(rules_version)s
    FROM unnest(%(user_agent)s::text[], %(browser)s::text[], %(browser_version)s::text[],
                %(os)s::text[], %(os_version)s::text[], %(device_type)s::text[],
                %(bot_reason)s::text[])
    ON CONFLICT DO NOTHING
"""
DELETE_USER_AGENTS = """
    DELETE FROM user_agents u
    USING unnest(%(user_agents)s::text[]) AS gone (user_agent)
    WHERE u.user_agent = gone.user_agent
"""
# Texts of events without a row by the given rules, and rows whose text no event has. One scan of
# the events, without a transaction id, for which the search indexer would wait.
SELECT_OUTDATED = """
    SELECT user_agent, is_used IS NOT NULL AS is_used, rules_version IS NOT NULL AS is_stored
    FROM (SELECT user_agent, true AS is_used
          FROM clickstream_events
          WHERE user_agent IS NOT NULL
          GROUP BY user_agent) AS used
    FULL JOIN user_agents USING (user_agent)
    WHERE is_used IS NULL OR rules_version IS DISTINCT FROM %(rules_version)s
"""
PARSED_COLUMNS = ("browser", "browser_version", "os", "os_version", "device_type", "bot_reason")


def insert(cursor: Cursor, parsed: Mapping[str, ParsedUserAgent], rules_version: str) -> None:
    """Insert those texts that are not stored yet.

    parsed: what each text says. rules_version: version of the rules by which it was parsed.
    """
    texts = sorted(parsed)  # two processes that insert in another order can deadlock
    columns = {name: [getattr(parsed[text], name) for text in texts] for name in PARSED_COLUMNS}
    values = {"user_agent": texts, "rules_version": rules_version, **columns}
    cursor.execute(INSERT_USER_AGENTS, values)


def delete(cursor: Cursor, texts: Iterable[str]) -> None:
    """Delete the rows of texts."""
    cursor.execute(DELETE_USER_AGENTS, {"user_agents": list(texts)})
