"""The connectors of the Flink job: fetched from Maven Central once, and checked on each run."""

import hashlib
import shutil
import subprocess
from pathlib import Path

from clickstream.errors import UserError

FETCH_SECONDS = 600


def connector_jars(sources: Path, folder: Path) -> list[Path]:
    """Return the paths of the connectors; fetch them with Maven if one is missing.

    sources: the folder with pom.xml, which names their versions, and jars.sha256, which has their
    checksums. folder: where they are kept. Raises UserError if they cannot be fetched or differ
    from the checksums.
    """
    checksums = _read_checksums(sources / "jars.sha256")
    if not all((folder / name).is_file() for name in checksums):
        _fetch(sources / "pom.xml", folder)
    for name, checksum in checksums.items():
        _check(folder / name, checksum)
    return [folder / name for name in checksums]


def _read_checksums(path: Path) -> dict[str, str]:
    """Return the checksum of each jar by its name, from a file as `sha256sum` writes it."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: checksum for checksum, name in lines}


def _fetch(pom: Path, folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise UserError(
            "Maven (mvn) is missing, which fetches the connectors of Flink; install it, for "
            "example with: apt-get install maven"
        )
    options = [f"-DoutputDirectory={folder.absolute()}", "-DexcludeTransitive=true"]
    command = [maven, "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", *options]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"Maven did not fetch the connectors of {pom} within 10 minutes") from None
    if done.returncode:
        lines = done.stdout.strip().splitlines() or ["no message"]
        raise UserError(f"Maven could not fetch the connectors of {pom}: {lines[0]}")


def _check(jar: Path, checksum: str) -> None:
    if hashlib.sha256(jar.read_bytes()).hexdigest() != checksum:
        raise UserError(
            f"{jar} is not the file that flink/jars.sha256 names; delete it, so that it is fetched "
            "again"
        )
