"""A warning if several consumers store the same visitors, which takes longer."""

import logging

from clickstream.consumer.batch import ParsedBatch
from clickstream.model.events import Event

logger = logging.getLogger(__name__)


class KeyWatch:
    """Warns once if another consumer changed sessions of the same visitors at the same time."""

    def __init__(self) -> None:
        self._warned = False

    def observe_conflict(self, parsed: ParsedBatch) -> None:
        """Warn, and name the cause.

        parsed: the batch that has to be stored again.
        """
        if self._warned:
            return
        self._warned = True
        logger.warning(
            "another consumer stores events of the same visitors at the same time (%s): sessions "
            "stay exact, but such batches have to be stored again, one consumer at a time; for "
            "full speed, send each record with its user_id as key and with the same partitioner, "
            "or run one consumer",
            _cause(parsed),
        )


def _cause(parsed: ParsedBatch) -> str:
    for record, event in zip(parsed.records, parsed.results, strict=True):
        if isinstance(event, Event) and record.key != event.user_id.encode():
            location = f"partition {record.partition}, offset {record.offset}"
            return f"the key of a record is not its user_id: {location}"
    return "records of one visitor are in several partitions"
