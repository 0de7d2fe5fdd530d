"""Parses the lines of a file once for each line on standard input, and prints how long it took.

The unit is microseconds of CPU time per event. bench/parse.py starts one worker for each version.
"""

import gc
import importlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import process_time
from typing import Any

# The modules of the parser in all versions, the newest first.
MODULES = ("clickstream.model.parse", "clickstream.model.events", "clickstream.pipeline.events")
ORIGIN = ("topic", 0, 0)
LATEST = datetime.max.replace(tzinfo=UTC)


def main() -> None:
    """Answer each line of standard input with the time of one run."""
    parse = _parse_function()
    values = Path(sys.argv[1]).read_bytes().splitlines()
    gc.disable()
    for _ in sys.stdin:
        started = process_time()
        for value in values:
            parse(value, origin=ORIGIN, latest=LATEST)
        print((process_time() - started) * 1e6 / len(values), flush=True)


def _parse_function() -> Any:
    for name in MODULES:
        try:
            return importlib.import_module(name).parse
        except (ImportError, AttributeError):
            continue
    raise SystemExit(f"none of {', '.join(MODULES)} has a function parse")


if __name__ == "__main__":
    main()
