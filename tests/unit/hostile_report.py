"""A report with one text in every field that holds texts of visitors."""

from dataclasses import replace
from decimal import Decimal

from clickstream.report import models
from tests.unit.empty_report import EMPTY, NOW

HOSTILE = '\x1b]0;owned\x07\x9b31m[bold red]:bomb:<script>"&\u202e\n'


def hostile_report(text: str) -> models.Report:
    """Return a report with this text in every field that holds text of visitors."""
    return replace(
        EMPTY,
        rule=models.ReportedRule(1800, [text], [text]),
        overview=models.Overview(3, NOW, NOW, 1, 1, 1, Decimal("5")),
        sessions=models.SessionFigures(1, 0, 0, 3.0, 3.0, 3, 1.0, 1.0, 1.0, 1.0, 0.0),
        event_types=[models.EventTypeFigures(text, 3, 1.0)],
        traffic=models.TrafficOverTime(60, [models.TrafficBucket(NOW, 3)], 0),
        products=[models.ProductFigures(text, text, 1, Decimal("5"))],
        pages=[models.PageFigures(text, text, 1, 1, 1, 1)],
        visitors=[models.VisitorFigures(text, 1, 3, Decimal("5"), NOW)],
        devices=[models.SegmentFigures(text, 1, 1.0, 0.0, Decimal("5"))],
        visit_sources=_visit_sources(text),
        quality=replace(
            EMPTY.quality,
            records=4,
            rejected_by_reason=[models.RejectionFigures(text, 1, text)],
            repaired_by_field=[models.RepairFigures(text, 1)],
            suspect_visitors=[models.SuspectVisitor(text, 1, 1, 1.0, is_placeholder=False)],
        ),
        charts=_charts(text),
    )


def _visit_sources(text: str) -> models.VisitSourceFigures:
    sources = [models.SourceFigures(text, 1, 1.0, 0.0, 1, Decimal("5"))]
    conversions = [models.ConversionFigures(text, 1, 1, Decimal("5"))]
    return models.VisitSourceFigures(sources, sources, sources, sources, conversions)


def _charts(text: str) -> models.ChartFigures:
    return models.ChartFigures(
        sessions_over_time=[models.SessionBucket(NOW, 1, 1, 1)],
        revenue_over_time=[models.RevenueBucket(NOW, Decimal("5"))],
        engagement=models.EngagementFigures(1, 1, 0, 1, 1),
        durations=[models.DurationFigures(0, 1)],
        hours=[models.WeekHourFigures(1, 12, 3)],
        articles=[models.CategoryFigures(text, text, 1)],
        products=[models.CategoryFigures(text, None, 1)],
        transitions=[models.TransitionFigures(text, f"{text}/2", 1)],
        ingest=models.IngestOverTime(1, [models.IngestBucket(NOW, 3, 0.5, 2.0)]),
    )
