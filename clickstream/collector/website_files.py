"""The files that a browser loads from the collector: the script for websites, and the demo shop."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

FOLDER = Path(__file__).parent / "website"
SNIPPET = FOLDER / "clickstream.js"
SCRIPT_TYPE = "text/javascript"
# Browsers cache the script for this long, and then load a changed one.
SNIPPET_HEADERS = {
    "Cache-Control": "public, max-age=3600",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors 'none'",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Frame-Options": "DENY",
}


async def show_snippet(_request: Request) -> Response:
    """Return the script that a website includes."""
    return FileResponse(SNIPPET, media_type=SCRIPT_TYPE, headers=SNIPPET_HEADERS)


async def _show_shop(_request: Request) -> Response:
    return FileResponse(FOLDER / "shop.html", headers=PAGE_HEADERS)


async def _show_script(_request: Request) -> Response:
    return FileResponse(FOLDER / "shop.js", media_type=SCRIPT_TYPE, headers=PAGE_HEADERS)


async def _show_style(_request: Request) -> Response:
    return FileResponse(FOLDER / "shop.css", headers=PAGE_HEADERS)


SHOP_ROUTES = [
    Route("/demo/shop.js", _show_script),
    Route("/demo/shop.css", _show_style),
    Route("/demo", _show_shop),
    Route("/demo/{page:path}", _show_shop),
]
