"""Running long queries so that Ctrl-C cancels them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from clickstream.clients.postgres import Connection

CANCEL_AGAIN_SECONDS = 0.1

Result = TypeVar("Result")


def interruptible(connection: Connection, read: Callable[[], Result]) -> Result:
    """Return the result of `read`; KeyboardInterrupt cancels the query that it is running.

    libpq waits for a result in C, where Python handles no signal, so a thread runs `read` and this
    one waits for it. connection: no other thread uses it meanwhile.
    """
    with ThreadPoolExecutor(max_workers=1) as executor:
        reading = executor.submit(read)
        try:
            return reading.result()
        except KeyboardInterrupt:
            cancel_until_done(connection, reading)
            raise


def cancel_until_done(connection: Connection, reading: Future[Any]) -> None:
    """Cancel the queries of a connection until the thread that runs them has ended."""
    # Between two queries there is nothing to cancel.
    while not reading.done():
        connection.cancel()
        wait([reading], CANCEL_AGAIN_SECONDS)
