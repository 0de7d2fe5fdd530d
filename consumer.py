#!/usr/bin/env python3
"""Read click events from Kafka and keep exact sessions in PostgreSQL, until Ctrl-C."""

import argparse
import random
from collections.abc import Sequence

from clickstream import script
from clickstream.pipeline.consumer import Consumer
from clickstream.pipeline.drain import Drain
from clickstream.settings import load
from clickstream.stopping import Stop


def build_parser() -> argparse.ArgumentParser:
    """The options; everything else is a setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    script.add_env_file(parser)
    parser.add_argument(
        "--drain",
        action="store_true",
        help="stop when everything that is in the topic at the start is stored",
    )
    return parser


def consume(arguments: argparse.Namespace) -> int:
    """Consume until a signal, or until the topic is drained."""
    settings = load(arguments.env_file)
    script.start_logging(settings.log_format)
    stop = Stop().on_signals()
    Consumer(settings, stop, Drain() if arguments.drain else None, random.Random()).run()
    return script.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script and return its exit status."""
    arguments = build_parser().parse_args(argv)
    return script.run(lambda: consume(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
