"""The rules for reading records, built from the settings."""

from datetime import timedelta

from clickstream.errors import UsageError
from clickstream.model.field_names import parse_event_types, parse_field_names
from clickstream.model.reading import Reading
from clickstream.settings import Settings


def reading_of(settings: Settings) -> Reading:
    """Build the rules for reading records from the settings.

    Raises UsageError with every problem of EVENT_FIELDS and EVENT_TYPES.
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
    return Reading(
        field_names=parse_field_names(settings.event_fields),
        event_types=parse_event_types(settings.event_types),
        min_event_time=settings.min_event_time,
        max_future=timedelta(seconds=settings.max_future_seconds),
    )
