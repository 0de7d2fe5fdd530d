"""Simulates visitors and their events. Uses none of the code that reads events."""
