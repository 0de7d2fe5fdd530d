"""Checks of the settings and of every server that they name."""
