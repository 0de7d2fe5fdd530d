"""Settings of the whole test run: workers, and the number of examples of property tests."""

import os

import pytest
from hypothesis import HealthCheck, settings

from clickstream import sources

# Property tests that store each example in a server take a fraction of these numbers.
for profile, max_examples in {"fast": 60, "thorough": 300}.items():
    settings.register_profile(
        profile,
        max_examples=max_examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
settings.load_profile("thorough" if "CI" in os.environ else "fast")


@pytest.fixture(autouse=True)
def _no_env_file_of_the_project(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SCRIPTS_FOLDER", tmp_path_factory.getbasetemp() / "scripts")


def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of `pytest -n auto`: tests of servers wait more than they compute."""
    return 2 * (os.cpu_count() or 1)
