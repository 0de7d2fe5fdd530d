"""Read-only commands on the running pipeline: its status, and one event."""
