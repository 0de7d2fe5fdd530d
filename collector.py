"""Take click events from web pages by HTTP and send them to the topic."""

from clickstream.installation import COLLECTOR_PACKAGES
from clickstream.script_start import begin_script

if __name__ == "__main__":
    begin_script(COLLECTOR_PACKAGES)  # before the other imports, which take a moment

import argparse
from collections.abc import Sequence

from clickstream import cli
from clickstream.collector.run import run
from clickstream.settings import load


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; everything else is a setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_version(parser)
    cli.add_env_file(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 for all (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=cli.port,
        default=8000,
        metavar="N",
        help="TCP port to listen on (default: %(default)s)",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="also serve a small shop that sends its clicks, at /demo; it shows each visitor's "
        "session, so keep it on this machine",
    )
    return parser


def collect(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    settings = load(arguments.env_file)
    cli.start_logging(settings.log_format)
    run(settings, arguments.host, arguments.port, with_shop=arguments.demo)
    return cli.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script and return its exit status."""
    return cli.run(lambda: collect(build_parser().parse_args(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
