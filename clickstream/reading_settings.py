"""The rules for reading records, built from the settings."""

from datetime import timedelta

from clickstream.errors import UsageError
from clickstream.model.address_fields import shared_names
from clickstream.model.field_names import parse_event_types, parse_field_names
from clickstream.model.ip_addresses import IpAddresses
from clickstream.model.reading import Reading
from clickstream.settings import Settings


def reading_of(settings: Settings) -> Reading:
    """Build the rules for reading records from the settings.

    Raises UsageError with every problem of EVENT_FIELDS and EVENT_TYPES, and if EVENT_FIELDS reads
    another field where IP_ADDRESSES changes the value.
    """
    problems = []
    for name, parse, text in (
        ("EVENT_FIELDS", parse_field_names, settings.event_fields),
        ("EVENT_TYPES", parse_event_types, settings.event_types),
    ):
        try:
            parse(text)
        except ValueError as error:
            problems.append(f"{name} {error}")
    if problems:
        raise UsageError("; ".join(problems))
    field_names = parse_field_names(settings.event_fields)
    ip_addresses = IpAddresses(settings.ip_addresses)
    shared = shared_names(field_names)
    if shared and ip_addresses is not IpAddresses.FULL:
        which = " and ".join(f"{field} from {name!r}" for field, name in shared.items())
        raise UsageError(
            f"IP_ADDRESSES={ip_addresses} would change what EVENT_FIELDS reads as another field "
            f"({which}, a name of ip_address); remove that name, or set IP_ADDRESSES=full"
        )
    return Reading(
        field_names=field_names,
        event_types=parse_event_types(settings.event_types),
        min_event_time=settings.min_event_time,
        ip_addresses=ip_addresses,
        max_future=timedelta(seconds=settings.max_future_seconds),
    )
