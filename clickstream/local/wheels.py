"""Where an installed wheel keeps its programs."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def installed(package: str, relative: str) -> Path | None:
    """The path of a file or folder of an installed package; None where it is not to be had.

    relative: below site-packages, with forward slashes.
    """
    try:
        path = Path(str(distribution(package).locate_file(relative)))
    except PackageNotFoundError:
        return None
    return path if path.exists() else None
