"""The page over HTTP, for this machine alone: it is read, and nothing else can be done."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from ra_core.console import graceful_stop
from ra_core.errors import ConfigError
from server.consortium import Consortium
from server.dashboard.files import ConsortiumFiles
from server.dashboard.html import SCRIPT_SOURCE, STYLE_SOURCE, render
from server.dashboard.state import Page

__all__ = ["DashboardServer", "serve"]

HOST = "127.0.0.1"

REFRESH_SECONDS = 5

_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {STYLE_SOURCE}; script-src {SCRIPT_SOURCE}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def serve(consortium: Consortium, port: int | None, say: Callable[[str], None]) -> None:
    """Serve a consortium's page until Ctrl-C or SIGTERM.

    Args:
        consortium: whose.
        port: on loopback, 0 for any; the one of the settings by default.
        say: gets the address.

    Raises:
        ConfigError: the port can't be had.
    """
    wanted = consortium.config.dashboard if port is None else port
    try:
        server = DashboardServer(wanted, ConsortiumFiles(consortium).look)
    except OSError as error:
        raise ConfigError(f"port {wanted} can't be had: {error.strerror}", "give another --port") from None
    with server, graceful_stop() as stopped:
        threading.Thread(target=server.serve_forever, name="dashboard", daemon=True).start()
        say(f"open {server.address}")
        while not stopped():
            time.sleep(0.2)
        server.shutdown()


class DashboardServer(ThreadingHTTPServer):
    """Serves the page on loopback until it is shut down.

    Args:
        port: 0 takes a free one.
        look: what the page is at a moment.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, port: int, look: Callable[[datetime], Page]) -> None:
        super().__init__((HOST, port), _Handler)
        self.look = look

    @property
    def address(self) -> str:
        """What a browser opens."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD of `/`, asked by a loopback name; all else is refused."""

    server: DashboardServer
    timeout = 30

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _refuse_method(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, b"This page can only be read.\n", "text/plain", True)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_CONNECT = do_TRACE = _refuse_method  # noqa: N815

    def _answer(self, with_body: bool) -> None:
        status, content, kind = self._content()
        self._send(status, content, kind, with_body)

    def _content(self) -> tuple[HTTPStatus, bytes, str]:
        if not _is_loopback(self.headers.get_all("Host") or []):
            return HTTPStatus.FORBIDDEN, b"Ask for localhost or 127.0.0.1.\n", "text/plain"
        if self.path.partition("?")[0] != "/":
            return HTTPStatus.NOT_FOUND, b"There is only one page, /.\n", "text/plain"
        try:
            return HTTPStatus.OK, render(self.server.look(datetime.now(UTC)), REFRESH_SECONDS), "text/html"
        except OSError as error:
            text = f"The consortium's folder can't be read: {error.strerror or type(error).__name__}.\n"
            return HTTPStatus.SERVICE_UNAVAILABLE, text.encode(), "text/plain"

    def _send(self, status: HTTPStatus, content: bytes, kind: str, with_body: bool) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def version_string(self) -> str:
        return "ra-server"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it so
        """Nothing: the page asks every few seconds."""


def _is_loopback(hosts: list[str]) -> bool:
    """Whether this machine was asked by a name of its own; another site's name may be made to lead here.

    Args:
        hosts: the request's headers `Host`. Any port will do, for the page may come through a tunnel.
    """
    try:
        (host,) = hosts
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
