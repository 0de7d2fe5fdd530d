"""The HTML page is one file that refers to no other, and no text of a visitor becomes markup."""

import json
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

from clickstream.report.html_page import LIBRARY, html_page
from tests.unit.empty_report import EMPTY
from tests.unit.hostile_report import HOSTILE, hostile_report

# The digest of dist/echarts.min.js in the npm package echarts 6.1.0.
LIBRARY_SHA256 = "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"
Attributes = dict[str, str | None]


class Page(HTMLParser):
    """The elements of a document, its scripts and its texts."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.texts: list[str] = []
        self._script: Attributes | None = None  # the attributes of the script element it is in
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        self._script = dict(attrs) if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.texts.append(data)
        else:
            self.scripts.append((self._script.get("type"), data))

    @property
    def charts(self) -> list[Any]:
        """The values of the charts."""
        return [json.loads(text) for kind, text in self.scripts if kind == "application/json"]


def test_texts_of_visitors_are_shown_and_are_no_markup() -> None:
    plain, hostile = (
        Page(html_page(hostile_report("page"))),
        Page(html_page(hostile_report(HOSTILE))),
    )
    tags = [tag for tag, _ in plain.elements]
    assert [tag for tag, _ in hostile.elements] == tags
    assert len(hostile.charts) == len(plain.charts) == 20
    shown = '\ufffd]0;owned\ufffd\ufffd31m[bold red]:bomb:<script>"&\ufffd\ufffd'
    assert shown in hostile.texts
    charts = {chart["kind"]: chart for chart in hostile.charts}
    assert charts["heatmap"]["rows"] == [shown]
    assert charts["flows"]["links"] == [[shown, f"{shown}/2", 1]]


def test_the_page_refers_to_no_address() -> None:
    page = Page(html_page(hostile_report("page")))
    names = {name for _, attributes in page.elements for name in attributes}
    assert not names & {"src", "href", "srcset", "action", "data", "poster"}
    assert not any("http" in text or "url(" in text or "@import" in text for text in page.texts)


def test_the_policy_allows_the_two_scripts_of_the_page_and_nothing_else() -> None:
    page = Page(html_page(hostile_report("page")))
    (policy,) = [
        attributes["content"]
        for _, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    digests = [
        f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
        for kind, text in page.scripts
        if kind is None
    ]
    assert len(digests) == 2
    assert policy == (
        f"default-src 'none'; script-src {' '.join(digests)}; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_each_chart_has_a_name_and_a_table_with_headings() -> None:
    page = Page(html_page(hostile_report("page")))
    charts = [attributes for _, attributes in page.elements if attributes.get("class") == "chart"]
    assert len(charts) == len(page.charts)
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in charts)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") >= len(charts)
    scopes = {attributes.get("scope") for tag, attributes in page.elements if tag == "th"}
    assert scopes == {"col", "row"}


def test_a_report_without_events_is_a_page_that_says_so() -> None:
    page = Page(html_page(EMPTY, notice="There is <nothing>."))
    assert "There is <nothing>." in page.texts
    assert page.scripts == []


def test_the_charting_library_is_the_published_file() -> None:
    content = LIBRARY.read_bytes()
    assert sha256(content).hexdigest() == LIBRARY_SHA256
    assert b"</script" not in content
    assert b'version="6.1.0"' in content
