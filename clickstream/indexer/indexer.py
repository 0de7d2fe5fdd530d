"""The indexer: keeps the index in OpenSearch what PostgreSQL says, beside the consumer's loop.

It has a connection of its own and reads what is committed, so that nothing that happens to
OpenSearch reaches the loop. Any failure has one answer: wait, and go on from the cursor.
"""

import logging
import random
import secrets
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic, time_ns

import psycopg2
from opensearchpy.exceptions import OpenSearchException

from clickstream.backoff import Backoff
from clickstream.clients import opensearch
from clickstream.clients.addresses import opensearch_address
from clickstream.clients.postgres import Connection, connect, only_row
from clickstream.errors import first_line
from clickstream.indexer import checkpoint, document_reader, indexes
from clickstream.indexer.bulk import (
    Document,
    Refusal,
    SearchOutageError,
    Sender,
    describe_error,
    document_of,
)
from clickstream.indexer.checkpoint import Checkpoint, CursorLostError, IndexStep
from clickstream.indexer.indexes import UNKNOWN, State
from clickstream.settings import Settings

logger = logging.getLogger(__name__)

APPLICATION = "clickstream search"
ROWS_AT_ONCE = 10_000
BULK_ACTIONS = 2_000
SENDERS = 2
IDLE_SECONDS = 0.5
CATCH_UP_SECONDS = 10.0
# So often an index that nothing is written to is looked after, and the others ask who leads.
LOOK_SECONDS = 2.0
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 10.0

# Every query here finds its rows by an index; the planner, which knows little of ranges of
# transactions, would now and then read whole tables. An indexer that is frozen, whether it waits
# or PostgreSQL waits for it, or whose machine is gone, loses its connection and with it the lead.
PREPARE = """
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET jit = off; SET work_mem = '64MB'; SET cursor_tuple_fraction = 1;
    SET idle_in_transaction_session_timeout = '3min'; SET idle_session_timeout = '3min';
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = '3min'
"""

# What the client, or whoever reads a reply, makes of one that is none of OpenSearch's.
ODD_REPLIES = (AttributeError, LookupError, TypeError, ValueError)
FAILURES = (psycopg2.Error, OpenSearchException, SearchOutageError, OSError, *ODD_REPLIES)


@contextmanager
def running_indexer(settings: Settings) -> Iterator[None]:
    """Index beside whatever is done in the block; at its end, what is committed is caught up on."""
    indexer = Indexer(settings, random.Random())
    indexer.start()
    try:
        yield
    finally:
        indexer.finish(CATCH_UP_SECONDS)


class Indexer:
    """Indexes in a thread of its own from `start` to `finish`; of several, one works at a time."""

    def __init__(self, settings: Settings, chance: random.Random) -> None:
        self._settings = settings
        self._backoff = Backoff(FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, chance)
        self._address = opensearch_address(settings)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="search", daemon=True)
        self._client = opensearch.connect(settings)
        self._sender = Sender(self._client, chance, self._ending.wait)
        self._connection: Connection | None = None
        self._leads = False
        self._database = ""
        self._token = ""  # of the index that was last found in order
        self._known = UNKNOWN
        self._looked = 0.0
        self._failures = 0
        self._trouble = ""

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Let it come to the end of what is committed, for so many seconds at most."""
        self._ending.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            logger.warning("the search index is behind; the next consumer goes on with it")

    def close(self) -> None:
        """Leave the lead to others."""
        self._let_go()
        self._client.close()

    def _run(self) -> None:
        try:
            while self._try_turn() or not self._ending.wait(IDLE_SECONDS):
                pass
        finally:
            self.close()

    def _try_turn(self) -> bool:
        """One turn; whether there may be more to do at once."""
        try:
            worked = self.turn()
        except CursorLostError:
            return True
        except FAILURES as error:
            self._back_off(error)
            return False
        if self._failures and self._leads:
            logger.info("indexing into %s again", self._address)
        self._failures, self._trouble = 0, ""
        return worked

    def turn(self) -> bool:
        """Send what the next step has, if any; whether there was something to do."""
        connection = self._lead()
        if connection is None:
            self._ending.wait(LOOK_SECONDS)
            return False
        with connection, connection.cursor() as cursor:
            current = checkpoint.read(cursor)
            step = checkpoint.next_step(cursor, current, ROWS_AT_ONCE) if current else None
        if current and step is None and monotonic() - self._looked < LOOK_SECONDS:
            return False
        mismatch = self._look(current)
        if mismatch is not None:
            self._begin_anew(connection, mismatch, first=current is None)
        elif step is not None:
            self._take(connection, step)
        else:
            with connection, connection.cursor() as cursor:
                checkpoint.stay(cursor)
        return step is not None or mismatch is not None

    def _lead(self) -> Connection | None:
        """The connection, where this indexer is the one that works."""
        if self._connection is None:
            self._connection = connect(self._settings, application=APPLICATION)
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(PREPARE)
        if not self._leads:
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(checkpoint.TRY_TO_LEAD)
                (self._leads,) = only_row(cursor)
                self._database = checkpoint.database(cursor)
            if self._leads and not self._failures:
                logger.info("indexing into %s", self._address)
        return self._connection if self._leads else None

    def _look(self, current: Checkpoint | None) -> str | None:
        """Why the index is not the one that the cursor belongs to; None where it is."""
        state = indexes.read(self._client)
        if current and state and state.token != current.token == self._token:
            self._refuse_taken_over(state)
        mismatch = self._mismatch(current, state)
        if state and mismatch is None:
            if self._known == UNKNOWN:  # whoever led before can no longer write it
                state = indexes.write(self._client, state)
            self._token = state.token
            self._known = indexes.delete_unknown(self._client, state)
        else:
            self._known = state or UNKNOWN
        self._looked = monotonic()
        return mismatch

    def _refuse_taken_over(self, state: State) -> None:
        """Two databases would delete each other's indexes for ever."""
        if state.database not in {"", self._database}:
            raise SearchOutageError(
                f"its indexes were taken over for {state.database}; give each database an "
                "OpenSearch of its own"
            )

    def _mismatch(self, current: Checkpoint | None, state: State | None) -> str | None:
        if current is None:
            return "nothing of this database is indexed yet"
        if state is None:
            return "OpenSearch has none"
        if (state.token, state.database) != (current.token, self._database):
            return "what OpenSearch has was not filled from this database"
        if state.horizon > current.horizon:
            return "the database was set back to an earlier state"
        if not state.indexes.items() <= indexes.present(self._client).items():
            return "an index was deleted"
        return None

    def _begin_anew(self, connection: Connection, why: str, *, first: bool) -> None:
        """Begin a new cursor, write the state that goes with it, and delete the indexes.

        Broken off in between, it is begun anew or gone on with: an index that the state does not
        know goes in any case.
        """
        if not self._failures:
            level = logging.INFO if first else logging.WARNING
            logger.log(level, "filling the search index from the beginning: %s", why)
        token = secrets.token_hex(8)
        with connection, connection.cursor() as cursor:
            checkpoint.create(cursor, token)
        # Above whatever was written before, also where that is gone.
        version = max(self._known.version, time_ns() // 1000)
        state = indexes.begin(self._client, State(token, self._database, version))
        self._known = indexes.delete_unknown(self._client, state)

    def _take(self, connection: Connection, step: IndexStep) -> None:
        """Send the documents of a step, then move the cursor behind it, then tell the index."""
        taken, refusals = self._deliver(connection, step)
        with connection, connection.cursor() as cursor:
            checkpoint.move(cursor, step.after, taken, refusals)
        state = replace(self._known, horizon=step.after.horizon)
        self._known = indexes.write(self._client, state)
        if refusals:
            logger.warning(
                "OpenSearch refused %d documents; python -m clickstream rejected list tells why",
                len(refusals),
            )

    def _deliver(
        self, connection: Connection, step: IndexStep
    ) -> tuple[list[Document], list[Refusal]]:
        """Send a step's documents while further ones are read; those sent and those refused.

        The former are listed only where it matters, that is where some were refused before.
        """
        taken: list[Document] = []
        refusals: list[Refusal] = []
        sending: deque[Future[list[Refusal]]] = deque()
        with connection:
            with connection.cursor() as cursor:
                listed = checkpoint.any_refused(cursor)
            try:
                actions = self._actions(connection, step)
                for part in document_reader.parts(actions, BULK_ACTIONS, self._sender.most_bytes):
                    sending.append(self._send_beside(part))
                    taken += map(document_of, part) if listed else ()
                    if len(sending) > SENDERS:
                        refusals += sending.popleft().result()
                for sent in sending:
                    refusals += sent.result()
            finally:
                wait(sending)
        return taken, refusals

    def _send_beside(self, actions: Sequence[bytes]) -> Future[list[Refusal]]:
        """Send in a thread that does not keep the process from ending."""
        sent: Future[list[Refusal]] = Future()

        def send() -> None:
            try:
                sent.set_result(self._sender.send(actions))
            except FAILURES as error:
                sent.set_exception(error)
            finally:
                if not sent.done():  # by a defect: nobody may wait for it for ever
                    sent.set_exception(SearchOutageError("a request was not sent"))

        threading.Thread(target=send, name="search-sender", daemon=True).start()
        return sent

    def _actions(self, connection: Connection, step: IndexStep) -> Iterator[bytes]:
        """The actions of a step; the index that one goes to is there before it comes."""
        suffix = indexes.alias_suffix(self._known.token)
        for index_name, action in document_reader.actions(connection, step, suffix):
            if index_name not in self._known.indexes:
                self._known = indexes.create(self._client, self._known, index_name)
            yield action

    def _back_off(self, error: Exception) -> None:
        """Say what fails, once, leave the lead to others, and wait, longer each time."""
        trouble = self._sentence(error)
        if trouble != self._trouble:
            logger.warning("%s", trouble, exc_info=isinstance(error, ODD_REPLIES))
        self._trouble = trouble
        self._let_go()
        self._failures += 1
        self._ending.wait(self._backoff.seconds(self._failures))

    def _sentence(self, error: Exception) -> str:
        if isinstance(error, psycopg2.Error):
            return f"the search index waits for PostgreSQL ({first_line(error)})"
        return (
            f"{self._address} does not take documents ({describe_error(error)}); "
            "PostgreSQL goes on, and the index will catch up"
        )

    def _let_go(self) -> None:
        """Close the connection, and with it leave the lead to others."""
        self._leads, self._known = False, UNKNOWN
        if self._connection is not None:
            self._connection.close()
            self._connection = None
