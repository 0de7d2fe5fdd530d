"""Names of everything that the pipeline has in OpenSearch; all begin with OPENSEARCH_INDEX_PREFIX.

Databases with different prefixes can share one OpenSearch.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

# The events before this month share the index of this period.
FIRST_MONTH = datetime(2020, 1, 1, tzinfo=UTC)
OLDER = "older"


@dataclass(frozen=True, slots=True)
class IndexNames:
    """The names that begin with one prefix."""

    prefix: str

    @property
    def events(self) -> str:
        """Return the beginning of the names of event indexes; also the name of their template."""
        return f"{self.prefix}-events"

    @property
    def sessions(self) -> str:
        """Return the name of the index of sessions; also that of its template."""
        return f"{self.prefix}-sessions"

    @property
    def state(self) -> str:
        """Return the name of the index of the state document."""
        return f"{self.prefix}-search-state"

    @property
    def patterns(self) -> tuple[str, str]:
        """Return the patterns of the index templates, of events and of sessions."""
        return f"{self.events}*", f"{self.sessions}*"

    @property
    def query_parameters(self) -> dict[str, str]:
        """Return the parameters of the queries of documents.py that are names of indexes."""
        return {"event_index": self.events, "session_index": self.sessions}

    def ended_before(self, name: str, time: datetime) -> bool:
        """Return True if every event of an event index is before a time, by the index's name.

        time: in UTC.
        """
        period = name.removeprefix(f"{self.events}-")
        if period == OLDER:
            return time >= FIRST_MONTH
        return name != self.sessions and period < f"{time:%Y.%m}"

    def is_of_documents(self, name: str) -> bool:
        """Return True if the indexer uses this name for an index of events or sessions.

        The match is exact, because a connector that copies a topic may create an index named
        <prefix>-events.
        """
        event_index = rf"{re.escape(self.events)}-([0-9]+\.[0-9]{{2}}|older)"
        return name == self.sessions or bool(re.fullmatch(event_index, name))
