"""The latest session of one visitor, for the demo shop."""

from contextlib import closing

import psycopg2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clickstream.clients.postgres import connect
from clickstream.settings import Settings

APPLICATION = "clickstream demo shop"
LATEST_SESSION = """
    SELECT json_build_object(
        'events', total_events, 'minutes', round(session_duration_minutes::numeric, 1),
        'pages', unique_pages_count, 'products viewed', products_viewed_count,
        'searches', jsonb_array_length(search_queries), 'orders', orders_count,
        'revenue', total_revenue::float, 'landing page', page_path(landing_page),
        'bounce', is_bounce, 'closed', closed_at IS NOT NULL)
    FROM session_metrics WHERE user_id = %(visitor)s
    ORDER BY first_event_timestamp DESC LIMIT 1
"""
LATEST_EVENTS = """
    SELECT event_type
        || coalesce(' ' || coalesce(product_id, search_query, page_path(page_url)), '')
    FROM clickstream_events WHERE user_id = %(visitor)s
    ORDER BY event_time DESC, event_id DESC LIMIT 10
"""


def session_route(settings: Settings) -> Route:
    """Return the route that answers with the session and the last events of a visitor."""

    async def show(request: Request) -> Response:
        visitor = request.query_params.get("visitor", "").replace("\x00", "")
        try:
            found = await run_in_threadpool(_read, settings, visitor)
        except psycopg2.Error:
            return JSONResponse({"error": "PostgreSQL cannot be reached"}, 503)
        return JSONResponse(found, headers={"Cache-Control": "no-store"})

    return Route("/demo/session", show)


def _read(settings: Settings, visitor: str) -> dict[str, object]:
    with (
        closing(connect(settings, application=APPLICATION)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(LATEST_SESSION, {"visitor": visitor})
        session = cursor.fetchone()
        cursor.execute(LATEST_EVENTS, {"visitor": visitor})
        return {"session": session and session[0], "events": [event for (event,) in cursor]}
