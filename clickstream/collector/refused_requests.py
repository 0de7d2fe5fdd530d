"""Requests that are not accepted."""

from datetime import datetime


class RequestRefused(Exception):  # noqa: N818 - an answer to the client, and no failure of the program
    """Raised for a request of which no event is accepted.

    status: HTTP status code. sentence: for the developer of the client; it repeats nothing of the
    request. retry_after: whole seconds after which the client may try again. now: the server's
    time, for a client whose clock is wrong.
    """

    def __init__(
        self,
        status: int,
        sentence: str,
        *,
        retry_after: int | None = None,
        now: datetime | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.retry_after = retry_after
        self.now = now
