"""The report of summary.py."""
