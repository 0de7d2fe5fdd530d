"""`python -m clickstream demo` uses and deletes its own servers, not those of the settings."""

from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

from clickstream.local import postgres_server, search_server
from tests.services.scripts import Script, command
from tests.services.waiting import eventually

# The demo must use neither of these.
UNUSABLE_SETTINGS = {
    "KAFKA_BOOTSTRAP_SERVERS": "nowhere.invalid:1",
    "KAFKA_SECURITY_PROTOCOL": "SSL",
    "SESSION_TIMEOUT_SECONDS": "not a number",
}
UNUSABLE_FILE = "POSTGRES_HOST=nowhere.invalid\nPOSTGRES_SSLMODE=verify-full\n"


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder for temporary files, in which the demo creates its own folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def demo(tmp_path: Path, temporary: Path) -> Iterator[Script]:
    (tmp_path / ".env").write_text(UNUSABLE_FILE)
    environment = {**UNUSABLE_SETTINGS, "TMPDIR": str(temporary)}
    script = Script(command("clickstream", "demo"), environment, tmp_path)
    yield script
    script.kill()


@pytest.mark.long
def test_demo_runs_to_the_end_and_leaves_nothing(demo: Script, temporary: Path) -> None:
    assert demo.wait(300) == 0, demo.output
    assert "Verified 20,000 events" in demo.output
    if search_server.is_available():
        assert "documents: OpenSearch matches PostgreSQL" in demo.output
    assert "The demo passed" in demo.output
    page = temporary.parent / "report-demo.html"
    assert f"The report as a page: {page.as_uri()}\n" in demo.output
    assert "</html>" in page.read_text()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_an_interrupted_demo_leaves_nothing(demo: Script, temporary: Path, number: Signals) -> None:
    demo.wait_for_output("== 2/")
    (folder,) = (path for path in temporary.iterdir() if path.is_dir())
    data = postgres_server.postgres(folder).folder
    assert data.exists()
    demo.send_signal(number)
    assert demo.wait() == 130
    assert not data.exists()
    assert list(temporary.iterdir()) == []


def test_a_killed_demo_leaves_nothing(demo: Script, temporary: Path) -> None:
    demo.wait_for_output("== 1/")
    (folder,) = (path for path in temporary.iterdir() if path.is_dir())
    data = postgres_server.postgres(folder).folder
    demo.kill()
    eventually(lambda: not data.exists() and list(temporary.iterdir()) == [])
