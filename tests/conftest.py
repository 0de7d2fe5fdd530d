"""Settings of the whole test run: workers, and the number of examples of property tests."""

import os

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from clickstream import sources

# Tests of servers wait more than they compute.
WORKERS_PER_CORE = 4
# Their tests share a server or a browser, which each worker would start for itself.
ONE_WORKER_FILES = tuple(
    f"/test_{name}.py"
    for name in ("real_kafka", "stack_running", "collector_in_browser", "page_in_browser")
)

# Property tests that store each example in a server take a fraction of these numbers.
for profile, max_examples in {"fast": 60, "thorough": 300}.items():
    settings.register_profile(
        profile,
        max_examples=max_examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
settings.load_profile("fast")


@pytest.fixture(autouse=True)
def _no_env_file_of_the_project(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep the tests from reading a `.env` in the folder of the scripts."""
    monkeypatch.setattr(sources, "SCRIPTS_FOLDER", tmp_path_factory.getbasetemp() / "scripts")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the workers of `pytest -n auto`, or of `-n logical`: one per core, for unit tests."""
    cores = os.cpu_count() or 1
    return cores if config.option.numprocesses == "logical" else WORKERS_PER_CORE * cores


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let workers start with the tests of OpenSearch and the long ones; others follow in between.

    Otherwise all workers but one would have nothing to do at the end.
    """
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (not _needs_real_search(item.nodeid), not _is_long(item)))


def _needs_real_search(nodeid: str) -> bool:
    return "[real_search" in nodeid


def _is_long(item: pytest.Item) -> bool:
    return item.get_closest_marker("long") is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> "OneWorkerForRealServers":
    """Return how tests are given to workers: in the order above."""
    config.option.loadscopereorder = False
    return OneWorkerForRealServers(config, log)


class OneWorkerForRealServers(LoadScopeScheduling):
    """Gives the tests of each real server to one worker.

    There is one such server, which one test at a time may use: others would wait for it. A file of
    unit tests also goes to one worker, and so do files whose tests share what takes long to start;
    each other test goes to the next worker that is free.
    """

    def _split_scope(self, nodeid: str) -> str:
        if _needs_real_search(nodeid):
            return "real_search"
        file = nodeid.partition("::")[0]
        return file if "/unit/" in file or file.endswith(ONE_WORKER_FILES) else nodeid
