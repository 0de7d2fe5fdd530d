"""Send simulated visits, or a recorded file, to the topic."""

from collections.abc import Sequence
from datetime import UTC, datetime

from clickstream import cli
from clickstream.sending import options
from clickstream.sending.produce import produce


def main(argv: Sequence[str] | None = None) -> int:
    """Run the producer and return its exit status."""
    return cli.run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    asked, settings = options.read(argv, datetime.now(UTC))
    cli.start_logging(settings.log_format)
    return produce(asked, settings)


if __name__ == "__main__":
    raise SystemExit(main())
