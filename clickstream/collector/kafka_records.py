"""The records that the collector sends to the topic."""

# The key of a record, None if no visitor can be read, and its value.
KafkaRecord = tuple[bytes | None, bytes]
# The largest event, without what the server adds.
MAX_EVENT_BYTES = 256 * 1024
