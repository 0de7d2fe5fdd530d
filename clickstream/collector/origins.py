"""The websites that may send events, and the headers that tell browsers so."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import Response

from clickstream.collector.refused_requests import RequestRefused

ANY = "*"
PREFLIGHT_SECONDS = "86400"


class AllowedOrigins:
    """The list in COLLECTOR_ORIGINS: origins such as https://shop.example, or ANY alone."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)
        # By the origin that they name; creating an answer takes as long as sending it.
        self._accepted: dict[str | None, Response] = {}

    def check(self, headers: Headers) -> dict[str, str]:
        """Return the headers that let the page read an answer.

        A request without an origin comes from no browser and is allowed. Raises RequestRefused with
        status 403 for any other origin that is not in the list.
        """
        if ANY in self._origins:
            return {"Access-Control-Allow-Origin": ANY}
        origin = headers.get("origin")
        if origin is None:
            return {}
        if origin not in self._origins:
            raise RequestRefused(403, "this origin is not in COLLECTOR_ORIGINS")
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}

    def accepted(self, headers: dict[str, str]) -> Response:
        """Return an answer 204 with the headers that `check` has returned.

        Answers to POST are not cached, so it needs no header against that.
        """
        origin = headers.get("Access-Control-Allow-Origin")
        if origin not in self._accepted:
            self._accepted[origin] = Response(status_code=204, headers=headers)
        return self._accepted[origin]

    def preflight(self, headers: Headers) -> dict[str, str]:
        """Return the headers that let a page send JSON. Raises RequestRefused with status 403."""
        return {
            **self.check(headers),
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "Content-Type, Content-Encoding",
            "Access-Control-Max-Age": PREFLIGHT_SECONDS,
        }
