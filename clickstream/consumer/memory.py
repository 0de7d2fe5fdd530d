"""How the consumer uses memory: rare garbage collection, and no large buffers that stay."""

import ctypes
import gc
import platform

# The collector looks for reference cycles when this many more objects were created than deleted.
# Python deletes everything else without it, also our records, events and sessions. Cycles come from
# kafka-python: some hundred small objects of each rebalance. The default of Python (700 or 2,000,
# depending on its version) lets the collector visit all open sessions again and again, which takes
# a sixth of the consumer's CPU time.
NEW_OBJECTS = 200_000
# glibc gives freed buffers of this many bytes back to the system. By default it learns from the
# buffers of the first batches to keep them, in pieces: with 10,000 visitors, about 100 MiB.
LARGE_BUFFER = 1 << 20
# The parameter of glibc's mallopt that has this meaning; see its malloc.h.
M_MMAP_THRESHOLD = -3


def collect_rarely() -> None:
    """Let the garbage collector of this process run rarely, in all versions of Python."""
    gc.set_threshold(NEW_OBJECTS)


def give_back_large_buffers() -> None:
    """Let glibc give back the memory of large buffers; other C libraries stay as they are."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER)
