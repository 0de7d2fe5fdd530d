"""The rules by which the records of a topic are read."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from clickstream.model.field_names import (
    NATIVE_EVENT_TYPES,
    NATIVE_FIELD_NAMES,
    EventTypes,
    FieldNames,
)
from clickstream.model.ip_addresses import IpAddresses


@dataclass(frozen=True, slots=True)
class Reading:
    """The rules of reading: names of fields, event types, range of event times, addresses.

    min_event_time: aware. ip_addresses: how much of each address is stored.
    max_future: how far ahead of the consumer's clock an event may be.
    """

    field_names: FieldNames = NATIVE_FIELD_NAMES
    event_types: EventTypes = NATIVE_EVENT_TYPES
    min_event_time: datetime = datetime(1990, 1, 1, tzinfo=UTC)
    max_future: timedelta = timedelta(hours=1)
    ip_addresses: IpAddresses = IpAddresses.FULL


NATIVE_READING = Reading()
