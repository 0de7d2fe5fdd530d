"""Bulk requests sent in threads while the caller reads the next documents."""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait

from opensearchpy.exceptions import OpenSearchException

from clickstream.indexer.bulk import BulkSender, Refusal
from clickstream.indexer.opensearch_errors import MALFORMED_REPLY_ERRORS, SearchOutageError

MAX_WAITING_REQUESTS = 2
SENDING_ERRORS = (OpenSearchException, SearchOutageError, OSError, *MALFORMED_REPLY_ERRORS)


def send_in_parallel(sender: BulkSender, chunks: Iterable[Sequence[bytes]]) -> list[Refusal]:
    """Send each chunk of actions in one request, and return the documents that were refused.

    Raises what `BulkSender.send` raises. No request is in flight when it returns or raises.
    """
    refusals: list[Refusal] = []
    requests: deque[Future[list[Refusal]]] = deque()
    try:
        for chunk in chunks:
            requests.append(_start(sender, chunk))
            if len(requests) > MAX_WAITING_REQUESTS:
                refusals += requests.popleft().result()
        for request in requests:
            refusals += request.result()
    finally:
        wait(requests)
    return refusals


def _start(sender: BulkSender, actions: Sequence[bytes]) -> Future[list[Refusal]]:
    """Send in a daemon thread, which does not keep the process alive as an executor's would."""
    request: Future[list[Refusal]] = Future()

    def send() -> None:
        try:
            request.set_result(sender.send(actions))
        except SENDING_ERRORS as error:
            request.set_exception(error)
        finally:
            if not request.done():  # a defect of this program must not block the waiting thread
                request.set_exception(SearchOutageError("a request was not sent"))

    threading.Thread(target=send, name="search-sender", daemon=True).start()
    return request
