"""The HTTP server of a consumer: /metrics for Prometheus, /livez and /readyz for a platform."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, disable_created_metrics, make_wsgi_app

from clickstream.consumer.health import Health
from clickstream.errors import UserError

# A scrape comes from another host or container.
ALL_ADDRESSES = "0.0.0.0"  # noqa: S104
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Server(ThreadingMixIn, WSGIServer):
    """A server that answers each request in a thread, and does not wait for them at its end."""

    daemon_threads = True


class _SilentHandler(WSGIRequestHandler):
    """A handler that writes no line for each request."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving_metrics(port: int, registry: CollectorRegistry, health: Health) -> Iterator[None]:
    """Serve metrics and health on all addresses of this host until the block ends.

    Raises UserError if the port cannot be used.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    application = _application(registry, health)
    try:
        server = make_server(ALL_ADDRESSES, port, application, _Server, _SilentHandler)
    except OSError as error:
        raise UserError(
            f"port {port} cannot be used for metrics ({error.strerror}); give another one with "
            "--metrics-port"
        ) from None
    with server:
        Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _application(registry: CollectorRegistry, health: Health) -> Application:
    show_metrics = make_wsgi_app(registry)

    def respond(request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = request["PATH_INFO"]
        if path == "/metrics":
            answer: Iterable[bytes] = show_metrics(request, start)
            return answer
        checks = {"/livez": health.is_alive, "/readyz": health.is_ready}
        if path not in checks:
            status = "404 Not Found"
        else:
            status = "200 OK" if checks[path] else "503 Service Unavailable"
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{status}\n".encode()]

    return respond
