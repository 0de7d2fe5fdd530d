"""Text of visitors never controls a terminal, and figures are written for people."""

import json
import sys
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from clickstream.durations import format_time
from clickstream.report import models
from clickstream.report.as_json import as_json
from clickstream.report.html_page import html_page
from clickstream.report.number_format import age, money, percent
from clickstream.report.sections import sections
from clickstream.report.terminal import report_parts, show
from clickstream.untrusted_text import clean, clip
from tests.unit.empty_report import EMPTY, NOW
from tests.unit.hostile_report import HOSTILE, hostile_report


def printed(report: models.Report, *, terminal: bool = False, width: int = 80) -> str:
    file = StringIO()
    console = Console(
        file=file, width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False
    )
    show(console, report_parts(report, bars=terminal))
    return file.getvalue()


@given(st.text())
def test_clean_text_is_printable_and_keeps_its_length(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    assert all(character.isprintable() or character.isspace() for character in cleaned)
    assert not set(cleaned) & set("\x1b\x9b\x07\n\r\t\u202e\u2028\x00")


def test_printable_text_of_any_language_is_unchanged() -> None:
    for text in ("Sök efter strumpor", "检索", "https://shop.example/?q=a&b=[c]"):
        assert clean(text) == text


def test_clipped_text_is_no_longer_than_asked_for() -> None:
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdefg", 6) == "abcde…"
    assert clip("\x1b" * 9_000, 6) == "�����…"


def test_a_piped_report_is_plain_text_of_80_columns() -> None:
    text = printed(hostile_report(HOSTILE * 100))
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "━" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "[bold red]:bomb:<script>" in text  # neither markup nor emoji


def test_the_report_in_a_terminal_has_bars_and_no_escape_sequence_of_a_visitor() -> None:
    text = printed(hostile_report(HOSTILE), terminal=True)
    assert "━" in text
    assert "█" in text
    assert "\x1b]" not in text
    assert "\x9b" not in text


def test_long_text_is_cut_and_numbers_are_not() -> None:
    path = "/" + "x" * 8_000
    page = models.PageFigures(path, path, 1_234_567, 7_654_321, 11, 22)
    text = printed(replace(EMPTY, pages=[page]))
    assert "1,234,567  7,654,321        11     22" in text
    assert "…" in text


def test_json_is_ascii_with_zones_and_exact_decimals() -> None:
    text = as_json(hostile_report("ü\x9b"))
    assert text.isascii()
    assert "\x1b" not in text
    read = json.loads(text)
    assert read["generated_at"] == "2025-06-02T12:00:00+00:00"
    assert read["overview"]["revenue"] == "5"
    assert read["pages"][0]["page_url"] == "ü\x9b"


def test_empty_sections_are_left_out() -> None:
    assert [section.title for section in sections(EMPTY)] == ["Data quality, since the beginning"]


def test_counters_that_do_not_add_up_are_pointed_out() -> None:
    quality = replace(EMPTY.quality, records=3, rows=1, duplicates=1)
    assert "does not add up" in printed(replace(EMPTY, quality=quality))
    balanced = replace(quality, rejected=1)
    assert "does not add up" not in printed(replace(EMPTY, quality=balanced))


def test_rejected_records_are_counted_by_reason_above_the_command_that_lists_them() -> None:
    reasons = [("missing_field", 1_234), ("not_json", 2)]
    figures = [
        models.RejectionFigures(reason, records, f"list {reason}") for reason, records in reasons
    ]
    text = printed(replace(EMPTY, quality=replace(EMPTY.quality, rejected_by_reason=figures)))
    assert (
        "1,234 missing_field\n                2 not_json\n                to list them:\n" in text
    )
    assert "  list missing_field\n" in text


def test_only_the_terminal_shows_a_command_with_the_path_of_the_interpreter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/environment/bin/python")
    command = "python -m clickstream rejected list --reason not_json"
    rejected = [models.RejectionFigures("not_json", 2, command)]
    quality = replace(EMPTY.quality, records=2, rejected=2, rejected_by_reason=rejected)
    report = replace(EMPTY, quality=quality)
    assert f"/environment/bin/{command}" in printed(report, width=200)
    assert command in html_page(report)
    assert "/environment" not in html_page(report)


def test_repairs_are_counted_by_field() -> None:
    figures = [models.RepairFigures("price", 1_234), models.RepairFigures("page_url", 2)]
    text = printed(replace(EMPTY, quality=replace(EMPTY.quality, repaired_by_field=figures)))
    assert "  repaired      1,234 price, 2 page_url: the values as sent are in " in text
    assert "repaired" not in printed(EMPTY)


def test_the_revenue_of_repaired_lines_is_shown_apart() -> None:
    revenue = models.RevenueFigures(Decimal(50), Decimal("12.5"), 2, None, None, 2, 1.0)
    text = printed(replace(EMPTY, revenue=revenue))
    assert "total       50.00 in 2 orders\n" in text
    assert "12.50 of it comes from lines with a repaired price or quantity\n" in text
    assert "repaired" not in printed(replace(EMPTY, revenue=replace(revenue, repaired=Decimal(0))))


def test_a_visitor_that_may_be_many_people_is_named_with_the_reason() -> None:
    placeholder = models.SuspectVisitor(" null", 1_000, 1, 0.2, is_placeholder=True)
    crawler = models.SuspectVisitor("x" * 256, 4_000, 9, 0.8, is_placeholder=False)
    quality = replace(EMPTY.quality, suspect_visitors=[placeholder, crawler])
    text = " ".join(printed(replace(EMPTY, quality=quality)).split())
    assert '" null" has 1,000 events (20.0%): it looks like a placeholder' in text
    assert f'"{"x" * 39}…" has 4,000 events (80.0%): if it stands for many people' in text


def test_the_report_says_that_repeated_event_ids_count_twice() -> None:
    quality = replace(EMPTY.quality, repeated_event_ids=7)
    text = " ".join(printed(replace(EMPTY, quality=quality)).split())
    assert "event ids 7 rows have an event_id that is stored with another time too" in text


def test_the_chart_says_how_many_events_it_does_not_show() -> None:
    traffic = models.TrafficOverTime(60, [models.TrafficBucket(NOW, 3)], 1_234)
    report = replace(hostile_report("page"), traffic=traffic)
    note = "maximum 3; events outside: 1,234"
    assert note in printed(report, terminal=True)
    assert f"{note.capitalize()}. Times are in UTC.</p>" in html_page(report)
    assert "outside" not in printed(hostile_report("page"), terminal=True)


def test_extreme_values_are_called_maximum() -> None:
    sessions = models.SessionFigures(1, 0, 0, 3.0, 3.0, 1_803, 1.0, 1.0, 33.0, 90.0, 0.0)
    text = printed(replace(hostile_report("page"), sessions=sessions), terminal=True)
    assert "maximum 1,803" in text
    assert "95% are shorter than 33 min, maximum 1 h 30 min" in text
    assert f"from {format_time(NOW)}, maximum 3" in text
    assert ">Maximum 3. " in html_page(hostile_report("page"))


def test_a_period_without_events_is_said_to_have_none() -> None:
    assert "\nno events yet\n" in printed(EMPTY)


def test_figures_are_rounded() -> None:
    assert money(Decimal("1234567.005")) == "1,234,567.00"
    assert percent(0.12345) == "12.3%"
    assert percent(None) == "-"
    assert age(NOW - timedelta(seconds=3), NOW) == "2025-06-02 11:59:57 UTC, 3 s ago"
    assert age(NOW + timedelta(minutes=2), NOW) == "2025-06-02 12:02:00 UTC, 2 min ahead"
