"""The event, the session rule and their identifiers: pure code without I/O, settings or clock."""
