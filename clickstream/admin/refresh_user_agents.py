"""Parsing the user agents of all stored events by the rules of this version."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from clickstream.clients.postgres import Connection, connect_or_explain
from clickstream.model.user_agents import UserAgentParser
from clickstream.settings import Settings
from clickstream.storage import user_agent_table
from clickstream.storage.query_rows import stream_rows
from clickstream.storage.snapshot import snapshot

APPLICATION = "clickstream user agents"
TEXTS_PER_TRANSACTION = 1_000


@dataclass(frozen=True, slots=True)
class Refresh:
    """Result of a refresh, in texts.

    added: were missing. updated: were parsed by other rules. deleted: no event has them any more.
    """

    added: int
    updated: int
    deleted: int
    rules_version: str


@dataclass(frozen=True, slots=True)
class OutdatedText:
    """A text that needs a change. is_used: an event has it. is_stored: user_agents has it."""

    text: str
    is_used: bool
    is_stored: bool


def refresh(settings: Settings) -> Refresh:
    """Bring user_agents up to date with the stored events and with the rules of this version.

    It reads the events once and changes the rows in short transactions; consumers may run. If it is
    interrupted, the next refresh does the rest.
    """
    parser = UserAgentParser()
    added = updated = deleted = 0
    with (
        closing(connect_or_explain(settings, application=APPLICATION)) as reader,
        closing(connect_or_explain(settings, application=APPLICATION)) as writer,
    ):
        for outdated in _outdated(reader, parser.rules_version):
            _change(writer, outdated, parser)
            added += sum(not each.is_stored for each in outdated)
            updated += sum(each.is_stored and each.is_used for each in outdated)
            deleted += sum(not each.is_used for each in outdated)
    return Refresh(added, updated, deleted, parser.rules_version)


def _outdated(reader: Connection, rules_version: str) -> Iterator[Sequence[OutdatedText]]:
    with snapshot(reader):
        values = {"rules_version": rules_version}
        rows = stream_rows(reader, user_agent_table.SELECT_OUTDATED, values)
        while batch := [OutdatedText(*row) for row in islice(rows, TEXTS_PER_TRANSACTION)]:
            yield batch


def _change(writer: Connection, outdated: Sequence[OutdatedText], parser: UserAgentParser) -> None:
    parsed = {each.text: parser.parse(each.text) for each in outdated if each.is_used}
    with writer, writer.cursor() as cursor:
        user_agent_table.delete(cursor, [each.text for each in outdated if each.is_stored])
        user_agent_table.insert(cursor, parsed, parser.rules_version)
