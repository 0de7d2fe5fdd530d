"""A file for secrets, for libraries that read them from a file only."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def private_file(content: bytes) -> Iterator[str]:
    """Yield the path of a file with this content and mode 0600, which exists inside the context.

    On Linux it is in memory and has no name in a folder, so nothing is left even after SIGKILL.
    On other systems it is a temporary file.
    """
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("private"), "wb", buffering=0) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile(prefix="clickstream-", buffering=0) as file:
            file.write(content)
            yield file.name
