"""The indexer: keeps the search index in OpenSearch up to date with PostgreSQL.

indexer.py does the work step by step, background.py runs it in a thread of the consumer's process.
"""
