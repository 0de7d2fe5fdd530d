"""Checks that the stored sessions, a truth file and the search index agree with the tables."""
