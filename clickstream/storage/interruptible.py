"""Ctrl-C during a long query: the driver, left alone, would notice it only at the query's end."""

from collections.abc import Iterator
from contextlib import contextmanager
from select import select

from psycopg2.errors import QueryCanceled
from psycopg2.extensions import POLL_OK, POLL_READ, set_wait_callback

from clickstream.clients.postgres import Connection


@contextmanager
def interruptible_queries() -> Iterator[None]:
    """Within the block, KeyboardInterrupt cancels the running query. No COPY meanwhile."""
    interrupted = False

    def wait(connection: Connection) -> None:
        nonlocal interrupted
        while True:
            try:
                state = connection.poll()
                if state == POLL_OK:
                    return
                reading = state == POLL_READ
                select([connection] if reading else [], [] if reading else [connection], [])
            except KeyboardInterrupt:
                interrupted = True
                connection.cancel()

    set_wait_callback(wait)
    try:
        yield
    except QueryCanceled:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        set_wait_callback(None)
