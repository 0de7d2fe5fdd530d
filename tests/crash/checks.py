"""The checks of a history after its last drain."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from clickstream.settings import Settings
from tests.crash.repaired import RepairedEvents, merge_truth_files
from tests.crash.scripts import run_script
from tests.crash.tables import Tables
from tests.crash.traffic import SENT_TRUTH

# The truth files of the repaired events, and of all events.
REPAIRED_TRUTH, WHOLE_TRUTH = "truth-repaired.json", "truth-whole.json"


class Checks:
    """Comparison of the stored rows with those that must be stored of all records.

    folder: has the producer's truth file.
    """

    def __init__(
        self, environment: Mapping[str, str], folder: Path, tables: Tables, repaired: RepairedEvents
    ) -> None:
        self._environment = environment
        self._folder = folder
        self._tables = tables
        self._repaired = repaired
        settings = Settings.from_mapping(environment)
        repaired.write_truth(folder / REPAIRED_TRUTH, settings)
        files = [folder / name for name in (SENT_TRUTH, REPAIRED_TRUTH, WHOLE_TRUTH)]
        self._totals = merge_truth_files(*files)
        self._rejected = sum(self._totals["rejected"].values())

    @property
    def records(self) -> int:
        """The number of all records that were sent."""
        return int(self._totals["events"] + self._totals["duplicates"] + self._rejected)

    def differences(self) -> Iterator[str]:
        """Yield a text for everything that is wrong."""
        yield from self._tables.differences(
            records=self.records,
            rejected=self._rejected,
            duplicates=self._totals["duplicates"],
            repaired=self._repaired.fields,
        )
        for name, *arguments in (
            ("summary.py", "--compare", WHOLE_TRUTH),
            ("summary.py", "--verify"),
            ("clickstream", "search", "verify"),
        ):
            checked = run_script(self._environment, self._folder, name, *arguments)
            if checked.returncode:
                yield f"{name} {' '.join(arguments)}:\n{checked.stdout}{checked.stderr}"
