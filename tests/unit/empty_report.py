"""A report without events, for tests that fill in what they show."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from clickstream.report import models

NOW = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
NO_CHARTS = models.ChartFigures(
    sessions_over_time=[],
    revenue_over_time=[],
    engagement=models.EngagementFigures(0, 0, 0, 0, 0),
    durations=[],
    hours=[],
    articles=[],
    products=[],
    transitions=[],
    ingest=models.IngestOverTime(1, []),
)
EMPTY = models.Report(
    database="clickstream",
    generated_at=NOW,
    since=None,
    time_zone=ZoneInfo("UTC"),
    rule=None,
    overview=models.Overview(0, None, None, 0, 0, 0, Decimal(0)),
    sessions=models.SessionFigures(0, 0, 0, None, None, None, None, None, None, None, None),
    event_types=[],
    traffic=models.TrafficOverTime(60, [], 0),
    funnel=[],
    revenue=models.RevenueFigures(Decimal(0), Decimal(0), 0, None, None, 0, None),
    products=[],
    pages=[],
    visitors=[],
    latest_orders=[],
    longest_sessions=[],
    devices=[],
    countries=[],
    visit_sources=None,
    user_agents=None,
    quality=models.DataQuality(0, 0, 0, 0, 0, [], [], 0, [], 0, 0, 0, None, None, None, None, None),
    charts=NO_CHARTS,
)
