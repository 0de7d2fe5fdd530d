"""The script consumer.py with a short session timeout in the consumer group.

A killed consumer's partitions are then free after a second or two instead of six or more, so a
history takes a fraction of the time. A broker may refuse so short a timeout: see
`group.min.session.timeout.ms`.
"""

import consumer
from clickstream.consumer import stream

if __name__ == "__main__":
    stream.SESSION_TIMEOUT_MS = 1_500
    stream.HEARTBEAT_INTERVAL_MS = 500
    raise SystemExit(consumer.main())
