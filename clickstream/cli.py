"""What the scripts share: common options, error sentences, exit statuses, logging."""

import argparse
import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from clickstream.errors import UsageError, UserError

DONE, FAILED, MISUSE = 0, 1, 2

Command = Callable[[argparse.Namespace], int]
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_env_file(parser: argparse.ArgumentParser) -> None:
    """Give a parser the option that every script has."""
    parser.add_argument(
        "--env-file",
        type=Path,
        metavar="PATH",
        help="settings file to read instead of .env (the environment beats it)",
    )


def run(main: Callable[[], int]) -> int:
    """Call `main` and turn what a user can cause into one sentence and an exit status."""
    try:
        return main()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISUSE
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def start_logging(log_format: str) -> None:
    """Log to stderr, as text or as one JSON object per line; libraries only from warnings up."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        _JsonFormatter()
        if log_format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("clickstream").setLevel(logging.INFO)
    # They log every attempt to connect; the scripts say in a sentence what is wrong.
    for library in ("kafka", "opensearch"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
