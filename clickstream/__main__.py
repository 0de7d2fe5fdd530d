"""`python -m clickstream`: all commands that are not one of the four scripts."""

from clickstream.script_start import begin_script

if __name__ == "__main__":
    begin_script()  # before the other imports, which take a moment

import argparse
from collections.abc import Sequence

from clickstream import cli
from clickstream.admin import commands as admin
from clickstream.aiven import commands as aiven
from clickstream.doctor import commands as doctor
from clickstream.flink import commands as flink
from clickstream.inspection import commands as inspection
from clickstream.local import commands as local

DESCRIPTION = "Commands for local servers, settings, checks and stored data."


def build_parser() -> argparse.ArgumentParser:
    """Return the parser, with the commands that each part of the package registers."""
    parser = argparse.ArgumentParser(prog="python -m clickstream", description=DESCRIPTION)
    cli.add_version(parser)
    commands = cli.add_commands(parser, "COMMAND")
    for part in (local, aiven, doctor, inspection, admin, flink):
        part.register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    return cli.run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    arguments = build_parser().parse_args(argv)
    return int(arguments.command(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
