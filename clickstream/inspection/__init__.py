"""Commands that look at the running pipeline and change nothing: its status, and one event."""
