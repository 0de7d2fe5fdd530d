"""A recorded file as a source of records."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import islice

from clickstream.reading_settings import reading_of
from clickstream.sending import options as asked
from clickstream.sending.options import Options
from clickstream.sending.record_source import RecordSource
from clickstream.sending.replay import Replay, events_expected
from clickstream.settings import Settings
from clickstream.signals import Stop
from clickstream.simulator.event_json import OutgoingRecord
from clickstream.simulator.timing import ConstantRate

logger = logging.getLogger(__name__)


class ReplayedSource(RecordSource):
    """The events of a recorded file, with a warning about those that a consumer will reject."""

    def __init__(self, file: str, options: Options, settings: Settings) -> None:
        self._file = file
        self._options = options
        self._replay = Replay(
            file,
            renaming=asked.renaming(options),
            reading=reading_of(settings),
            now=partial(datetime.now, UTC),
            strict=options.strict,
        )

    def records(self, now: int, stop: Stop) -> Iterator[OutgoingRecord]:  # noqa: ARG002
        records = self._replay.records(stop)
        if self._options.rate is not None:
            timing = ConstantRate(self._options.rate, 0)
            records = (record._replace(due=timing.at(0)) for record in records)
        return islice(records, self._options.events)

    def expected(self, now: int) -> int | None:  # noqa: ARG002
        events = self._options.events
        return events_expected(self._file) if events is None else events

    def report(self) -> None:
        if warning := self._replay.warning():
            logger.warning("%s", warning)

    def finish(self, *, is_complete: bool) -> None:
        """Do nothing: a replay writes nothing."""
