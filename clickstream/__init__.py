"""A real-time clickstream pipeline: Kafka in, exact sessions in PostgreSQL and OpenSearch out."""

__version__ = "0.2.0"
