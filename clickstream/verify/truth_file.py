"""Reading the simulator's truth file once and in bounded memory, for any layout of its JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, BinaryIO

import ijson

from clickstream.errors import UserError
from clickstream.model.sessions import Rule

READABLE_VERSION = 1
TRUTH_CHUNK_BYTES = 1 << 18
# The other members than the sessions, which may come before or after them.
SMALL_MEMBERS = ("version", "rule", "events", "duplicates", "rejected")

Session = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TruthTotals:
    """Everything in a truth file but its sessions. rejected: records by reason."""

    rule: Rule
    events: int
    duplicates: int
    rejected: dict[str, int]


class TruthReader:
    """Reader of one truth file.

    name: name of the file, for errors. All methods raise UserError if it is not a complete truth
    file, and OSError if it cannot be read.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._has_sessions = False
        self._members: dict[str, list[Any]] = {
            each: ijson.sendable_list() for each in SMALL_MEMBERS
        }

    def sessions(self) -> Iterator[list[Session]]:
        """Yield all sessions, in lists of those that end in the same chunk of the file."""
        try:
            yield from self._parse()
        except ijson.JSONError:
            raise self._no_truth_file() from None

    def totals(self) -> TruthTotals:
        """Return the totals; call it after the last of the sessions."""
        match {name: values[0] for name, values in self._members.items() if values}:
            case {"version": int(version)} if version != READABLE_VERSION:
                raise UserError(
                    f"{self._name} is a truth file of version {version}; this program reads "
                    f"version {READABLE_VERSION}"
                )
            case {
                "version": int(),
                "rule": {
                    "timeout_seconds": int(timeout),
                    "start_events": list(starts),
                    "end_events": list(ends),
                },
                "events": int(events),
                "duplicates": int(duplicates),
                "rejected": dict(rejected),
            } if (
                _all_are(str, starts + ends)
                and _all_are(int, rejected.values())
                and (self._has_sessions or not events)
            ):
                rule = Rule(timedelta(seconds=timeout), frozenset(starts), frozenset(ends))
                return TruthTotals(rule, events, duplicates, rejected)
            case _:
                raise self._no_truth_file()

    def _parse(self) -> Iterator[list[Session]]:
        sessions: list[Session] = ijson.sendable_list()
        parser = ijson.items_coro(sessions, "sessions.item", use_float=True)
        open_members = {
            name: ijson.items_coro(values, name) for name, values in self._members.items()
        }
        while chunk := self._file.read(TRUTH_CHUNK_BYTES):
            parser.send(chunk)
            for name in [each for each in open_members if not self._members[each]]:
                open_members[name].send(chunk)
            if not all(isinstance(each, dict) and each.get("user_id") for each in sessions):
                raise self._no_truth_file()
            self._has_sessions = self._has_sessions or bool(sessions)
            yield sessions[:]
            sessions.clear()
        parser.close()

    def _no_truth_file(self) -> UserError:
        return UserError(
            f"{self._name} is not a complete truth file; send events and write one with: "
            "python producer.py --truth FILE"
        )


def _all_are(kind: type, values: Iterable[object]) -> bool:
    return all(isinstance(value, kind) for value in values)
