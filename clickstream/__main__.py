"""`python -m clickstream`: everything beside the four scripts. `--help` lists it."""

import argparse
from collections.abc import Sequence

from clickstream import cli
from clickstream.admin import commands as operations_commands
from clickstream.aiven import commands as aiven_commands
from clickstream.local import commands as local_commands


def build_parser() -> argparse.ArgumentParser:
    """The parser; each command registers itself and sets `command` to its function."""
    parser = argparse.ArgumentParser(prog="python -m clickstream", description=__doc__)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    local_commands.register(subparsers)
    aiven_commands.register(subparsers)
    operations_commands.register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = build_parser().parse_args(argv)
    return cli.run(lambda: int(arguments.command(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
