"""The event, the session rule and their identifiers: no I/O, no settings, no clock."""
