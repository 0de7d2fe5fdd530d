"""Commands for operators: setup, rebuild, rejected records, positions, the search index."""
