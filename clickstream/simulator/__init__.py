"""Simulated visitors and their events."""
