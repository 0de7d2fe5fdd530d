"""The report fits any width of a terminal and any encoding; names, numbers and ids stay."""

import sys
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from rich.console import Console

from clickstream.report import models
from clickstream.report.standard_output import LEVELS, has_ascii_locale, prepare_stdout
from clickstream.report.terminal import draws_bars, report_parts, show
from tests.unit.empty_report import EMPTY, NOW

SESSION = "5efa84ea-1228-5737-a462-24b36f8b8141"
SUMMARY = models.SessionSummary(SESSION, "user-000018", NOW, 109.0, 258, 2, Decimal("212.98"))
PATH = "/category/electronics"
ADDRESS = f"https://shop.example.com{PATH}?page=2"
REPORT = replace(
    EMPTY,
    overview=models.Overview(30_000, NOW, NOW, 917, 153, 233, Decimal("24704.52")),
    traffic=models.TrafficOverTime(
        60, [models.TrafficBucket(NOW + timedelta(minutes=n), n + 1) for n in range(72)], 0
    ),
    event_types=[models.EventTypeFigures("page_view", 30_000, 1.0)],
    pages=[models.PageFigures(PATH, ADDRESS, 1_018, 2_463, 387, 139)],
    visitors=[models.VisitorFigures("user-000018", 18, 1_259, Decimal("1155.86"), NOW)],
    latest_orders=[SUMMARY],
    longest_sessions=[SUMMARY],
    devices=[models.SegmentFigures("mobile", 477, 0.52, 0.168, Decimal("12315.20"))],
)
NAMES = ("page_view", PATH, "user-000018", SESSION, "mobile")
NUMBERS = ("24,704.52", "1,018", "2,463", "387", "139", "1,259", "1,155.86", "212.98", "12,315.20")


def printed(width: int, *, terminal: bool = False) -> list[str]:
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    show(console, report_parts(REPORT, bars=terminal))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 163, 200, 300])
def test_names_numbers_and_whole_session_ids_fit_every_width(width: int) -> None:
    lines = printed(width, terminal=True)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text
    assert "https://" not in text
    assert [each for each in (*NAMES, *NUMBERS) if each not in text] == []


def test_at_40_columns_a_row_is_a_name_above_its_values() -> None:
    lines = [line.rstrip() for line in printed(40)]
    row = lines.index("  /category/electronics")
    assert lines[row + 1 : row + 3] == [
        "    views 1,018, events 2,463,",
        "    landings 387, exits 139",
    ]


def test_at_80_columns_a_row_is_one_line_and_pages_are_paths() -> None:
    lines = printed(80)
    assert "  /category/electronics  1,018   2,463       387    139" in lines
    assert f"  {SESSION}  user-000018   212.98  2025-06-02 12:00" in lines


def test_at_200_columns_sections_stand_side_by_side_from_top_to_bottom() -> None:
    lines = printed(200, terminal=True)
    assert len(lines) < len(printed(100, terminal=True)) * 0.7
    (heading,) = (line for line in lines if line.startswith("Event types"))
    right = heading[len("Event types") :].split()
    assert right
    assert right[0] != "Top"


def test_the_chart_of_events_is_as_wide_as_the_terminal_allows() -> None:
    wide, narrow = (printed(width, terminal=True) for width in (80, 40))
    assert "Events per 1 min" in " ".join(wide)
    bars = [sum(map("".join(lines).count, LEVELS)) for lines in (wide, narrow)]
    assert bars == [72, 36]
    assert "Events per 2 min" in " ".join(narrow)
    assert "maximum 143" in " ".join(" ".join(narrow).split())


@pytest.mark.parametrize(
    ("environment", "is_ascii"),
    [
        ({"LANG": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "nb_NO.UTF-8", "LC_ALL": "POSIX"}, True),
        ({"LANG": "nb_NO.UTF-8"}, False),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, False),
        ({"LANG": "C", "PYTHONIOENCODING": "utf-8"}, False),
        ({}, False),
    ],
)
def test_the_locale_c_means_ascii_unless_an_encoding_is_given(
    environment: dict[str, str], is_ascii: bool
) -> None:
    assert has_ascii_locale(environment) == is_ascii


def test_a_terminal_with_the_locale_c_gets_no_bars_and_a_mark_of_its_own_for_cut_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(TextIOWrapper):
        def isatty(self) -> bool:
            return True

    output = Terminal(BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", output)
    for name in ("LC_ALL", "LC_CTYPE", "PYTHONIOENCODING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "nb_NO.UTF-8")
    prepare_stdout()
    assert draws_bars(Console(file=output))
    monkeypatch.setenv("LANG", "C")
    prepare_stdout()
    assert not draws_bars(Console(file=output))
    print("S\xf6k…", end="", flush=True)
    output.seek(0)
    assert output.read() == "S?k~"
