"""The Java that runs Flink on this machine."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from clickstream.errors import UserError

# Flink 1.20 supports Java 11 and 17, and runs on 21.
OLDEST_JAVA, NEWEST_JAVA = 11, 21
VERSION = re.compile(r'version "(\d+)')


def find_java() -> str:
    """Return the path of a Java that Flink runs on.

    It is that of JAVA_HOME, the one in the PATH, or one in /usr/lib/jvm. Raises UserError.
    """
    found = []
    for java in _candidates():
        version = _version(java)
        if OLDEST_JAVA <= version <= NEWEST_JAVA:
            return java
        found.append(f"{java} is version {version}")
    raise UserError(
        f"Flink needs Java {OLDEST_JAVA} to {NEWEST_JAVA}, and "
        f"{'; '.join(found) or 'there is no Java here'}; install it, for example with: "
        "apt-get install openjdk-17-jre-headless"
    )


def _candidates() -> Iterator[str]:
    """Yield the paths of the Javas on this machine, the preferred one first."""
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").is_file():
        yield str(Path(home) / "bin" / "java")
    if java := shutil.which("java"):
        yield java
    yield from map(str, sorted(Path("/usr/lib/jvm").glob("*/bin/java")))


def _version(java: str) -> int:
    """Return the major version, such as 17; 0 if it does not run."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    match = VERSION.search(done.stderr)
    return int(match[1]) if match else 0
