"""Texts of visitors do no harm in anything that the scripts print, log, write and index."""

import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from clickstream.model.events import TEXT_FIELDS
from tests.services.databases import Query
from tests.services.records import event, send_keyed
from tests.services.scripts import RunScript, command, plain_environment

# Characters that control a terminal or a log, or hide text: C0, C1, bidirectional, separators.
BIDIRECTIONAL = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x061C, 0x200E, 0x200F]
CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), *BIDIRECTIONAL, 0x2028, 0x2029]))
FORBIDDEN = set(CONTROLS) - {"\n"}
TITLE_AND_CLEAR = "\x1b]0;owned\x07\x1b[2J\x9b31m"
FORGED_LINE = "x\r\n2025-06-02T10:00:00+0000 ERROR forged"
MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(1)>[bold]:bomb:{a|b}"
SQL = "'; DROP TABLE clickstream_events; --\\N\\.\t$1%s%(a)s{0}"
TEXTS = (CONTROLS, TITLE_AND_CLEAR, FORGED_LINE, MARKUP, SQL, f"\u202e{MARKUP}\ud800")
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000 (INFO|WARNING) ")
COLORS = re.compile(r"\x1b\[[0-9;]*m")
SELECT_TEXTS = "SELECT DISTINCT search_query FROM clickstream_events WHERE search_query <> 'plain'"
SELECT_REJECTED = """
    SELECT min("offset") FROM rejected_events
    WHERE reason IN ('not_json', 'not_utf8', 'missing_field') GROUP BY reason
"""
SELECT_SESSION = "SELECT session_id::text FROM session_metrics WHERE user_id LIKE %s LIMIT 1"


def hostile_values() -> list[bytes]:
    """Return values of records: each text in each field, in names of fields, and in no event."""
    events: list[Any] = []
    for number, text in enumerate(TEXTS):
        fields = dict.fromkeys(TEXT_FIELDS, text)
        shown = text.replace("\0", "").replace("\ud800", "")  # these two reject a visitor or a type
        events += [
            event("visitor", number, **fields),
            event(shown, number, shown, **fields, **{text: {text: [text]}}, price=9.5),
            event(shown, number + 60, "purchase", **fields, price=9.5),
            event("visitor", number, **fields) | {"timestamp": text},
            event(text, number, text) | {"timestamp": None, text: text},
            {text: text},
        ]
    values = [json.dumps(each).encode() for each in events]
    broken = [text.encode("utf-8", "surrogatepass") for text in TEXTS]
    escaped = [b"\0" * 5 + each for each in broken]
    return [*values, *broken, *escaped]


def hostile_key(value: bytes) -> bytes:
    """Return a key for a record."""
    return b"\x1b[2J\r\n" + value[:20]


def check_harmless(text: str) -> None:
    """Check that a text has no character that controls a terminal or hides something."""
    assert not FORBIDDEN & set(text), sorted(map(hex, map(ord, FORBIDDEN & set(text))))


def run_on_a_terminal(environment: dict[str, str], folder: Path) -> str:
    """Return the report that summary.py prints on a terminal."""
    terminal, inside = os.openpty()
    settings = plain_environment({**environment, "TERM": "xterm", "COLUMNS": "200"})
    shown = bytearray()
    line = command("summary.py")
    with subprocess.Popen(line, env=settings, cwd=folder, stdout=inside) as script:
        os.close(inside)
        try:
            while part := os.read(terminal, 65_536):
                shown += part
        except OSError:  # the end of the output, on Linux
            pass
    os.close(terminal)
    assert script.returncode == 0
    return shown.decode()


class Tags(HTMLParser):
    """The tags of a page with the text in them, and the names of all attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.fixture
def stored(environment: dict[str, str], run_script: RunScript, query: Query) -> str:
    """Send the hostile records and store them; return what the consumer logged."""
    values = hostile_values()
    send_keyed(environment, values, key=hostile_key, partition=lambda _: 0)
    consumed = run_script("consumer.py", "--drain")
    assert consumed.returncode == 0, consumed.stderr
    assert query("SELECT sum(records)::int FROM stream_positions") == [(len(values),)]
    return consumed.stderr


@pytest.mark.long
def test_hostile_texts_are_stored_and_harmless_in_every_output(
    stored: str,
    environment: dict[str, str],
    run_script: RunScript,
    query: Query,
    tmp_path: Path,
) -> None:
    kept = {text.replace("\0", "\ufffd").replace("\ud800", "\ufffd") for text in TEXTS}
    assert {text for (text,) in query(SELECT_TEXTS)} == kept
    check_harmless(stored)
    assert all(LOG_LINE.match(line) for line in stored.splitlines())

    ((session,),) = query(SELECT_SESSION, ["%DROP TABLE%"])
    for arguments in (
        ["summary.py"],
        ["summary.py", "--session", session],
        ["summary.py", "--visitor", FORGED_LINE + "?"],
        ["summary.py", "--verify"],
        ["clickstream", "find", "--user", MARKUP],
        ["clickstream", "rejected", "list"],
        ["clickstream", "rejected", "list", "--reason", TITLE_AND_CLEAR],
        *(["clickstream", "rejected", "show", f"0:{n}"] for n in rejected_offsets(query)),
    ):
        done = run_script(*arguments)
        assert "Traceback" not in done.stderr
        check_harmless(done.stdout + done.stderr)
        assert not re.search("^2025.* forged", done.stdout + done.stderr, re.MULTILINE)
    on_a_terminal = run_on_a_terminal(environment, tmp_path)
    check_harmless(COLORS.sub("", on_a_terminal).replace("\r\n", "\n"))


def rejected_offsets(query: Query) -> list[int]:
    """Return the offset of one rejected record for some reasons."""
    return [offset for (offset,) in query(SELECT_REJECTED)]


def test_hostile_texts_are_no_markup_in_the_page_and_no_lines_in_a_json_log(
    stored: str,  # noqa: ARG001
    run_script: RunScript,
    tmp_path: Path,
) -> None:
    assert run_script("summary.py", "--html", "hostile.html").returncode == 0
    page = (tmp_path / "hostile.html").read_text(encoding="utf-8")
    check_harmless(page.replace("\t", " "))
    assert "img" not in Tags(page).tags
    assert "onerror" not in Tags(page).attributes
    assert "alert(1)</script>" not in page

    figures = json.loads(run_script("summary.py", "--json").stdout)
    assert any(MARKUP in json.dumps(part, ensure_ascii=False) for part in figures.values())

    assert run_script("clickstream", "positions", "reset", "--to", "earliest").returncode == 0
    logged = run_script("consumer.py", "--drain", LOG_FORMAT="json").stderr
    check_harmless(logged)
    assert all("message" in json.loads(line) for line in logged.splitlines())


def test_hostile_texts_in_a_replayed_file_are_harmless_in_what_the_producer_says(
    run_script: RunScript, tmp_path: Path
) -> None:
    """The producer also says which records a consumer will reject, and why."""
    lines = [value for value in hostile_values() if not {*b"\r\n"} & {*value}]
    (tmp_path / "hostile.ndjson").write_bytes(b"\n".join(lines))
    sent = run_script("producer.py", "--replay", "hostile.ndjson")
    check_harmless(sent.stdout + sent.stderr)
    assert sent.returncode == 0
    refused = run_script("producer.py", "--replay", f"{TITLE_AND_CLEAR}.csv", "--map", MARKUP)
    check_harmless(refused.stdout + refused.stderr)
    assert "Traceback" not in refused.stderr


@pytest.mark.local_search
def test_documents_of_hostile_texts_equal_the_rows(
    search: dict[str, str], environment: dict[str, str], run_script: RunScript
) -> None:
    send_keyed(environment, hostile_values(), key=hostile_key)
    consumed = run_script("consumer.py", "--drain", **search)
    assert consumed.returncode == 0, consumed.stderr
    compared = run_script("clickstream", "search", "verify", **search)
    assert "OpenSearch matches PostgreSQL" in compared.stdout, compared.stdout
