"""Settings of the whole test run."""

import os


def pytest_xdist_auto_num_workers() -> int:
    """The workers of `pytest -n auto`: tests of servers wait more than they compute."""
    return 2 * (os.cpu_count() or 1)
