"""A running collector and a client of it."""

import json
from collections.abc import Mapping
from typing import Any

import urllib3

from clickstream.local.ports import free_port
from tests.services.scripts import Script, StartScript

JSON = {"Content-Type": "application/json"}
NO_RETRIES = urllib3.Retry(total=False, redirect=False)


class Site:
    """A client of a running collector.

    url: its address, without a slash at the end.
    """

    def __init__(self, script: Script, port: int) -> None:
        self.script = script
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._http = urllib3.PoolManager(retries=NO_RETRIES, timeout=60)

    def post(self, body: Any, headers: Mapping[str, str] = JSON) -> urllib3.BaseHTTPResponse:
        """Send events; anything but bytes becomes JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", "/collect", body=content, headers=headers)

    def request(self, method: str, path: str, **more: Any) -> urllib3.BaseHTTPResponse:
        """Send a request; more: arguments of urllib3."""
        return self._http.request(method, f"{self.url}{path}", **more)


class StartSite:
    """Starts collectors: `start_site("--demo", TRUSTED_PROXIES="1")`."""

    def __init__(self, start_script: StartScript) -> None:
        self._start_script = start_script

    def __call__(self, *arguments: str, **settings: str) -> Site:
        """Return a client when the collector listens, on a free port."""
        return self.on_port(free_port(), *arguments, **settings)

    def on_port(self, port: int, *arguments: str, **settings: str) -> Site:
        """Return a client when the collector listens on this port."""
        script = self._start_script("collector.py", "--port", str(port), *arguments, **settings)
        script.wait_for_output("the collector listens on")
        return Site(script, port)
