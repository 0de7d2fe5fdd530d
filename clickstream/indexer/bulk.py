"""Bulk requests, of whose replies every item is read.

What OpenSearch refuses for its content is given back; whatever may go through later is sent again.
"""

import random
import re
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, NamedTuple

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    ConnectionTimeout,
    SerializationError,
    TransportError,
)
from opensearchpy.exceptions import ConnectionError as NoConnectionError

from clickstream.backoff import Backoff
from clickstream.indexer.documents import ALIAS_MARK

ATTEMPTS = 5
# An indexer that was frozen must not go on with what it had, long after another took its place.
GIVE_UP_SECONDS = 300.0
FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 2.0
# What an error of urllib3 says of its objects.
OBJECT = re.compile(r"<[^>]*>: |\S+\(.*?\): ")
# Of an item, what decides.
PARAMETERS = {
    "filter_path": "items.*.status,items.*.error",
    "require_alias": "true",
    "request_timeout": 20,
}
MOST_BYTES = 4 << 20
DONE_BELOW = 300
REFUSED, NOT_FOUND, CONFLICT, TOO_LARGE = 400, 404, 409, 413
# Refused with the same status, but not for the document's content.
NOT_CONTENT = {"index_closed_exception", "validation_exception"}


class SearchOutageError(Exception):
    """OpenSearch does not take documents now."""


class Document(NamedTuple):
    """What identifies a document."""

    index_name: str
    document_id: str


class Refusal(NamedTuple):
    """A document that OpenSearch refuses for its content."""

    index_name: str
    document_id: str
    status: int
    reason: str


class Reply(NamedTuple):
    """What became of actions: those to send again and why, and what was refused."""

    again: list[bytes]
    refusals: list[Refusal]
    why: str


class Sender:
    """Sends actions: the lines of documents.py. May be used by several threads at a time.

    most_bytes: the largest request that OpenSearch is known to take.
    pause: lets so many seconds pass.
    """

    def __init__(
        self, client: OpenSearch, chance: random.Random, pause: Callable[[float], object]
    ) -> None:
        self.most_bytes = MOST_BYTES
        self._client = client
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, chance)
        self._pause = pause

    def send(self, actions: Sequence[bytes]) -> list[Refusal]:
        """Send until each is indexed or deleted; those that are refused.

        Raises SearchOutageError where ATTEMPTS in a row bring nothing, or it takes too long.
        """
        refusals: list[Refusal] = []
        in_vain = 0
        began = monotonic()
        while True:
            reply = self._post(actions)
            refusals += reply.refusals
            if not reply.again:
                return refusals
            in_vain = in_vain + 1 if len(reply.again) == len(actions) else 0
            if in_vain == ATTEMPTS or monotonic() - began > GIVE_UP_SECONDS:
                raise SearchOutageError(reply.why)
            actions = reply.again
            self._pause(self._backoff.seconds(in_vain))

    def _post(self, actions: Sequence[bytes]) -> Reply:
        body = b"\n".join(actions) + b"\n"
        try:
            found = self._client.bulk(body=body, params=PARAMETERS)
        except (AuthenticationException, AuthorizationException) as error:
            raise SearchOutageError(describe_error(error)) from None
        except TransportError as error:
            if error.status_code == TOO_LARGE:
                self.most_bytes = min(self.most_bytes, max(1, len(body) // 2))
            if error.status_code in (REFUSED, TOO_LARGE):
                return self._divide(actions, error)
            return Reply(list(actions), [], describe_error(error))
        except SerializationError as error:  # the reply is cut
            return Reply(list(actions), [], describe_error(error))
        return _sort_out(actions, found)

    def _divide(self, actions: Sequence[bytes], error: TransportError) -> Reply:
        """Find what a whole request was refused for, by halves."""
        if len(actions) == 1:
            return Reply(
                [], [_refusal(actions[0], int(error.status_code), describe_error(error))], ""
            )
        middle = len(actions) // 2
        first, second = self._post(actions[:middle]), self._post(actions[middle:])
        return Reply(
            first.again + second.again, first.refusals + second.refusals, first.why or second.why
        )


def _sort_out(actions: Sequence[bytes], found: dict[str, Any]) -> Reply:
    items = found.get("items", [])
    if len(items) != len(actions):
        return Reply(list(actions), [], f"{len(items)} items in the reply to {len(actions)}")
    again: list[bytes] = []
    refusals: list[Refusal] = []
    why = ""
    for action, item in zip(actions, items, strict=True):
        ((kind, result),) = item.items()
        status = result["status"]
        # Something newer is indexed already, or what is to go is gone.
        if status < DONE_BELOW or status == CONFLICT or (kind, status) == ("delete", NOT_FOUND):
            continue
        error = result.get("error")
        reason = _reason(error)
        if status == REFUSED and not (isinstance(error, dict) and error["type"] in NOT_CONTENT):
            refusals.append(_refusal(action, status, reason))
        else:
            again.append(action)
            why = f"{status}: {reason}"
    return Reply(again, refusals, why)


def _refusal(action: bytes, status: int, reason: str) -> Refusal:
    return Refusal(*document_of(action), status, reason)


def document_of(action: bytes) -> Document:
    """The document that lines of documents.py are for, by its index, whatever the alias."""
    ((_, target),) = orjson.loads(action.partition(b"\n")[0]).items()
    return Document(target["_index"].partition(ALIAS_MARK)[0], target["_id"])


def _reason(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    cause = error.get("caused_by") or {}
    parts = (error.get("type"), error.get("reason"), cause.get("reason"))
    return ": ".join(part for part in parts if part)


def describe_error(error: Exception) -> str:
    """What an error of the client says, in one line."""
    if isinstance(error, ConnectionTimeout):
        return "it does not answer in time"
    if isinstance(error, TransportError):
        status, kind, detail = (*error.args, "", None)[:3]
        if isinstance(detail, dict) and "error" in detail:
            return f"{status}: {_reason(detail['error'])}"
        text = (OBJECT.sub("", str(kind)).splitlines() or ["without a reason"])[0]
        return text if isinstance(error, NoConnectionError) else f"{status}: {text}"
    if isinstance(error, SearchOutageError):
        return str(error)
    return f"an odd reply: {type(error).__name__}"
