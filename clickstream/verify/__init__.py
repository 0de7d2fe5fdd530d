"""Checks that the sessions and the search index are right."""
