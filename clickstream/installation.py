"""Checks of a script before its imports: the version of Python, and the installed packages.

This module and `script_start` also run on older versions of Python.
"""

import importlib.util
import os
import sys

OLDEST_PYTHON = (3, 11)
# The name that is imported -> the name in requirements.txt.
PACKAGES = {
    "kafka": "kafka-python",
    "crc32c": "crc32c",
    "lz4": "lz4",
    "snappy": "python-snappy",
    "zstandard": "zstandard",
    "psycopg2": "psycopg2-binary",
    "opensearchpy": "opensearch-py",
    "urllib3": "urllib3",
    "faker": "faker",
    "prometheus_client": "prometheus_client",
    "dotenv": "python-dotenv",
    "orjson": "orjson",
    "msgspec": "msgspec",
    "ijson": "ijson",
    "rich": "rich",
    "cryptography": "cryptography",
    "tzdata": "tzdata",
    "ua_parser": "ua-parser",
    "ua_parser_rs": "ua-parser-rs",
    "ua_parser_builtins": "ua-parser-builtins",
    "crawleruseragents": "crawler-user-agents",
}
# Those that only the collector needs, as in requirements-collector.txt.
COLLECTOR_PACKAGES = {
    "confluent_kafka": "confluent-kafka",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "httptools": "httptools",
}


def check(more: "dict[str, str] | None" = None) -> None:
    """End the process with a sentence if Python is too old or a package is missing.

    more: packages that this script needs besides PACKAGES, in the same form.
    """
    found = sys.version_info[:2]
    if found < OLDEST_PYTHON:
        raise SystemExit(
            f"error: Python {_version(OLDEST_PYTHON)} or later is needed, and {sys.executable} is "
            f"Python {_version(found)}; {_remedy('python' + _version(OLDEST_PYTHON))}"
        )
    needed = {**PACKAGES, **(more or {})}
    missing = [needed[name] for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        others = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise SystemExit(
            f"error: {sys.executable} lacks the packages {', '.join(missing[:3])}{others}; "
            f"{_remedy('python3')}"
        )


def _version(numbers: "tuple[int, ...]") -> str:
    return ".".join(map(str, numbers))


def _remedy(python: str) -> str:
    """Return what to do: activate the virtual environment, or create it with this Python."""
    project = os.path.relpath(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = os.path.normpath(os.path.join(project, ".venv"))
    requirements = os.path.normpath(os.path.join(project, "requirements-dev.txt"))
    activate = f". {environment}/bin/activate"
    is_active = os.path.realpath(sys.prefix) == os.path.realpath(environment)
    if os.path.exists(environment) and not is_active:
        return f"activate the virtual environment first: {activate}"
    return (
        f"install with: {python} -m venv {environment} && {activate} && "
        f"python -m pip install -r {requirements}"
    )
