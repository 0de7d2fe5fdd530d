"""A comparison of what this pipeline and its peers store of the same events."""
