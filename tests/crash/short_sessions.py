"""The script consumer.py with a short session timeout in the consumer group.

A killed consumer's partitions are then free after a second or two instead of six or more, so a
history takes a fraction of the time. A broker may refuse so short a timeout: see
`group.min.session.timeout.ms`.
"""

import os
import threading
import time

import consumer
from clickstream.consumer import stream

# Names the process id of the harness.
HARNESS_VARIABLE = "TEST_CRASH_HARNESS"
CHECK_SECONDS = 1.0


def end_with_parent() -> None:
    """End this process when the harness has ended, which may be by SIGKILL."""
    while os.getppid() == int(os.environ[HARNESS_VARIABLE]):
        time.sleep(CHECK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    stream.SESSION_TIMEOUT_MS = 1_500
    stream.HEARTBEAT_INTERVAL_MS = 500
    threading.Thread(target=end_with_parent, daemon=True).start()
    raise SystemExit(consumer.main())
