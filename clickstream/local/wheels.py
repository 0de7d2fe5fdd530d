"""Paths of programs in installed wheels."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def installed(package: str, relative: str) -> Path | None:
    """Return the path of a file or folder of a package, or None if it is not installed.

    relative: the path below site-packages, with forward slashes.
    """
    try:
        path = Path(str(distribution(package).locate_file(relative)))
    except PackageNotFoundError:
        return None
    return path if path.exists() else None
