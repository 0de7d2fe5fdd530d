"""Sends simulated or recorded events to Kafka."""
