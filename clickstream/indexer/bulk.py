"""Bulk requests to OpenSearch: if a reply has an error, each of its items is read.

A document that OpenSearch refuses for its content is returned to the caller; every action that may
succeed later is sent again.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    SerializationError,
    TransportError,
)

from clickstream.backoff import Backoff
from clickstream.indexer.documents import ALIAS_MARK
from clickstream.indexer.opensearch_errors import SearchOutageError, describe_cause, describe_error

MAX_FAILURES_IN_A_ROW = 5
# A process that was frozen must not send old documents long after another indexer became the
# leader.
MAX_SENDING_SECONDS = 300.0
FIRST_RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 2.0
MAX_BULK_BYTES = 4 << 20
BULK_PARAMETERS = {
    "filter_path": "errors,items.*.status,items.*.error",
    "require_alias": "true",
    "request_timeout": 20,
}
REFUSED_STATUS = HTTPStatus.BAD_REQUEST
TOO_LARGE_STATUS = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
# Errors with REFUSED_STATUS that do not come from the document's content.
ERRORS_OF_THE_INDEX = {"index_closed_exception", "validation_exception"}


class Document(NamedTuple):
    """A document's index and id, which identify it."""

    index_name: str
    document_id: str


class Refusal(NamedTuple):
    """A document that OpenSearch refused for its content."""

    index_name: str
    document_id: str
    status: int
    reason: str


class BulkResult(NamedTuple):
    """Result of one bulk request.

    unfinished: the actions to send again. refusals: the documents that were refused. reason: why
    the last of the unfinished actions did not succeed.
    """

    unfinished: list[bytes]
    refusals: list[Refusal]
    reason: str


class BulkSender:
    """Sends bulk actions until each is done; several threads may use it at a time.

    An action is bytes: its lines as documents.py builds them. backoff: waits between attempts.
    pause: waits for a number of seconds. clock: returns seconds. max_bytes: the largest request
    that OpenSearch is known to accept.
    """

    def __init__(
        self,
        client: OpenSearch,
        backoff: Backoff,
        pause: Callable[[float], object],
        clock: Callable[[], float],
    ) -> None:
        self.max_bytes = MAX_BULK_BYTES
        self._client = client
        self._backoff = backoff
        self._pause = pause
        self._clock = clock

    def send(self, actions: Sequence[bytes]) -> list[Refusal]:
        """Send until each document is indexed or deleted, and return those that were refused.

        Raises SearchOutageError after MAX_FAILURES_IN_A_ROW requests without any success, or if
        it takes longer than MAX_SENDING_SECONDS.
        """
        refusals: list[Refusal] = []
        failures = 0
        started = self._clock()
        while True:
            result = self._post(actions)
            refusals += result.refusals
            if not result.unfinished:
                return refusals
            failures = failures + 1 if len(result.unfinished) == len(actions) else 0
            if failures == MAX_FAILURES_IN_A_ROW or self._clock() - started > MAX_SENDING_SECONDS:
                raise SearchOutageError(result.reason)
            actions = result.unfinished
            self._pause(self._backoff.seconds(failures))

    def _post(self, actions: Sequence[bytes]) -> BulkResult:
        body = b"\n".join([*actions, b""])
        try:
            reply = self._client.bulk(body=body, params=BULK_PARAMETERS)
        except (AuthenticationException, AuthorizationException) as error:
            raise SearchOutageError(describe_error(error)) from None
        except TransportError as error:
            if error.status_code == TOO_LARGE_STATUS:
                self.max_bytes = min(self.max_bytes, max(1, len(body) // 2))
            if error.status_code in (REFUSED_STATUS, TOO_LARGE_STATUS):
                return self._bisect(actions, error)
            return BulkResult(list(actions), [], describe_error(error))
        except SerializationError as error:  # the reply is cut off
            return BulkResult(list(actions), [], describe_error(error))
        return _read_reply(actions, reply)

    def _bisect(self, actions: Sequence[bytes], error: TransportError) -> BulkResult:
        """Find the document for which OpenSearch refuses a whole request."""
        if len(actions) == 1:
            refusal = _refusal(actions[0], int(error.status_code), describe_error(error))
            return BulkResult([], [refusal], "")
        middle = len(actions) // 2
        first, second = self._post(actions[:middle]), self._post(actions[middle:])
        return BulkResult(
            first.unfinished + second.unfinished,
            first.refusals + second.refusals,
            first.reason or second.reason,
        )


def _read_reply(actions: Sequence[bytes], reply: dict[str, Any]) -> BulkResult:
    items = reply.get("items", [])
    if len(items) != len(actions):
        return BulkResult(list(actions), [], f"{len(items)} items in the reply to {len(actions)}")
    unfinished: list[bytes] = []
    refusals: list[Refusal] = []
    reason = ""
    if reply.get("errors") is False:  # each item succeeded
        return BulkResult(unfinished, refusals, reason)
    for action, item in zip(actions, items, strict=True):
        ((kind, result),) = item.items()
        if _is_done(kind, result["status"]):
            continue
        cause = describe_cause(result.get("error"))
        if _is_refused(result):
            refusals.append(_refusal(action, result["status"], cause))
        else:
            unfinished.append(action)
            reason = f"{result['status']}: {cause}"
    return BulkResult(unfinished, refusals, reason)


def _is_done(kind: str, status: int) -> bool:
    """Return True if an item succeeded.

    A conflict means that a newer version is indexed already.
    """
    deleted_before = kind == "delete" and status == HTTPStatus.NOT_FOUND
    return status < HTTPStatus.MULTIPLE_CHOICES or status == HTTPStatus.CONFLICT or deleted_before


def _is_refused(result: dict[str, Any]) -> bool:
    """Return True if an item failed for the document's content."""
    error = result.get("error")
    of_the_index = isinstance(error, dict) and error["type"] in ERRORS_OF_THE_INDEX
    return result["status"] == REFUSED_STATUS and not of_the_index


def _refusal(action: bytes, status: int, reason: str) -> Refusal:
    return Refusal(*document_of(action), status, reason)


def document_of(action: bytes) -> Document:
    """Return index and id of an action's document; an alias is replaced by its index."""
    ((_, target),) = orjson.loads(action.partition(b"\n")[0]).items()
    return Document(target["_index"].partition(ALIAS_MARK)[0], target["_id"])
