"""Simulated visitors and what they do."""
