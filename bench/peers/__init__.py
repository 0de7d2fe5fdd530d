"""A comparison of what this pipeline and its peers store of traffic of the same kind."""
