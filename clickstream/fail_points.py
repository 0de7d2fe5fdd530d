"""Points in the code at which the crash test kills the process.

They do nothing unless the environment variable TEST_FAIL_POINTS names a folder. A test then puts a
file with the name of a point into it. The process that next reaches the point deletes the file and
kills itself, so that no code of ours runs after the point.
"""

import os
import signal
from enum import StrEnum
from pathlib import Path

FOLDER_VARIABLE = "TEST_FAIL_POINTS"


class FailPoint(StrEnum):
    """The steps of a batch, numbered as in `consumer.transaction.store`, and steps outside of it.

    Each is reached after its step, and before the next one.
    """

    PARSED = "batch-1-parsed"
    LOCKED = "batch-2-positions-locked"
    INSERTED = "batch-3-events-inserted"
    SESSIONS_UPDATED = "batch-4-sessions-updated"
    POSITIONS_MOVED = "batch-5-positions-moved"
    COMMITTED = "batch-6-committed"
    ACQUIRED = "partitions-acquired"
    DOCUMENTS_SENT = "index-1-documents-sent"
    CHECKPOINT_ADVANCED = "index-2-checkpoint-advanced"


def reach(point: FailPoint) -> None:
    """Kill this process if a test wants it to end at this point."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        try:
            (Path(folder) / point).unlink()
        except FileNotFoundError:  # or another process was faster
            return
        os.kill(os.getpid(), signal.SIGKILL)
