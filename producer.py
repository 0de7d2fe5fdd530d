"""Send simulated visitor traffic, or a recorded file, to the topic."""

from clickstream.script_start import begin_script

if __name__ == "__main__":
    begin_script()  # before the other imports, which take a moment

import gc
from collections.abc import Sequence
from datetime import UTC, datetime

from clickstream import cli
from clickstream.sending import options
from clickstream.sending.produce import produce


def main(argv: Sequence[str] | None = None) -> int:
    """Run the producer and return its exit status."""
    return cli.run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    asked, settings = options.read_options(argv, datetime.now(UTC))
    cli.start_logging(settings.log_format)
    collect_garbage_rarely()
    return produce(asked, settings)


def collect_garbage_rarely() -> None:
    """Make Python look for reference cycles less often in this process.

    The producer creates next to no cycles. With the default of 700 objects the search takes a
    tenth of the time; a full one over millions of objects delays a steady rate by half a second.
    """
    gc.set_threshold(200_000, 3, 300)


if __name__ == "__main__":
    raise SystemExit(main())
