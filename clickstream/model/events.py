"""The event: its fields, their limits, and the error of a record that cannot become one."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

MAX_VALUE_BYTES = 1 << 20
MAX_LEVELS = 254  # what orjson writes
MAX_NAME_BYTES = 256  # of event_type and user_id
MAX_TEXT_CHARACTERS = 8_192
MAX_QUANTITY = 1_000_000
MAX_ENGAGED_MS = 86_400_000  # a day
PRICE_LIMIT = Decimal(10**10)
PRICE_PLACES = 4
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# event_time and event_id: the order of events, and the identity of each.
Key = tuple[datetime, str]


class Event(NamedTuple):
    """One event, with its fields in the order of the columns of clickstream_events.

    event_id: a UUID in lower case. event_time: aware, in UTC. properties: JSON text of an object.
    repaired: names of the fields whose value was lost or changed, None if there are none.
    """

    event_id: str
    event_time: datetime
    event_type: str
    user_id: str
    page_url: str | None
    referrer: str | None
    user_agent: str | None
    ip_address: str | None
    device_type: str | None
    country: str | None
    city: str | None
    success: bool | None
    product_id: str | None
    product_category: str | None
    price: Decimal | None
    quantity: int | None
    order_id: str | None
    search_query: str | None
    element_id: str | None
    viewport_size: str | None
    article_id: str | None
    article_category: str | None
    visit_id: str | None
    engaged_ms: int | None
    properties: str | None
    repaired: tuple[str, ...] | None = None

    @property
    def key(self) -> Key:
        """The event's identity, which is also its sort key: (event_time, event_id)."""
        return self.event_time, self.event_id


EVENT_COLUMNS = Event._fields
# The columns that hold one field each: all but properties and repaired.
FIELD_COLUMNS = EVENT_COLUMNS[:-2]
REQUIRED_FIELDS = ("event_type", "timestamp", "user_id")
TEXT_FIELDS = (
    "page_url",
    "referrer",
    "user_agent",
    "device_type",
    "country",
    "city",
    "product_id",
    "product_category",
    "order_id",
    "search_query",
    "element_id",
    "viewport_size",
    "article_id",
    "article_category",
    "visit_id",
)
# The fields that a record may have, by their native names; all other keys are properties.
RECORD_FIELDS = (
    "event_id",
    *REQUIRED_FIELDS,
    *TEXT_FIELDS,
    "ip_address",
    "success",
    "price",
    "quantity",
    "engaged_ms",
)
# Second native names, used if a record does not have the first.
OTHER_NAMES = {"ip_address": ("ip",), "device_type": ("device",)}


class InvalidEventError(ValueError):
    """Raised for a record that cannot become an event.

    reason: a code. detail: one sentence. event: the event that an earlier version with other limits
    may have stored for the record; None if the record is no event under any limits.
    is_too_far_ahead: its time is more than MAX_FUTURE_SECONDS ahead of now.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        event: Event | None = None,
        *,
        is_too_far_ahead: bool = False,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.event = event
        self.is_too_far_ahead = is_too_far_ahead
