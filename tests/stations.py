"""A site that is ready to join, and a server with a certificate that says what a test has it say."""

import contextlib
import datetime as dt
import http.server
import json
import ssl
import threading
import time
from email.utils import formatdate

import yaml

from client.member.keys import make_key
from client.member.station import open_station
from server.consortium import ConsortiumConfig
from server.provisioning.certificates import authority, key_text, new_key, server_certificate, text

NOW = dt.datetime.now(dt.UTC)
ADMITTED = (400, {"code": 2003, "detail": "Invalid heartbeat interval."})
UNKNOWN = (412, {"code": 2004, "detail": "Failed to activate SuperNode."})


def make_authority(name="Test"):
    key = new_key()
    return authority(name, key, NOW - dt.timedelta(days=400)), key


class Server:
    """Serves the fleet interface's one question over TLS, on loopback.

    Args:
        folder: for its key and certificate.
        issuer: certificate and key of the authority.
        answer: status and JSON to a request to activate a node.
        ahead: seconds that its clock is ahead.
        issued: when its certificate was.
        host: that it listens on; its certificate is for 127.0.0.1.
    """

    def __init__(self, folder, issuer, answer=ADMITTED, ahead=0.0, issued=NOW, host="127.0.0.1"):
        self.asked = []
        config = ConsortiumConfig(name="Test", address="127.0.0.1:1", sites=("anna",))
        key = new_key()
        (folder / "server.key").write_bytes(key_text(key))
        (folder / "server.crt").write_bytes(text(server_certificate(config, key, *issuer, issued)))
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                outer.asked.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
                self.reply(*answer)

            def do_GET(self):
                self.reply(404, {})

            def reply(self, status, body):
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def date_time_string(self, timestamp=None):
                return formatdate(time.time() + ahead, usegmt=True)

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # a client that doesn't trust us hangs up

        self._server = Quiet((host, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def write_station(folder, trusted=None, port=1, **server):
    """A site config with key and CA; the value is what `open_station` makes of it."""
    if not (folder / "site.key").exists():
        make_key(folder / "site.key")
    (folder / "ca.crt").write_bytes(text((trusted or make_authority())[0]))
    settings = {"address": f"127.0.0.1:{port}", "ca_certificate": "ca.crt", "private_key": "site.key"} | server
    config = {
        "name": "Anna",
        "anatomy": "none",
        "modality": "OT",
        "data": {"site": "anna", "root": "images"},
        "runtime": {"threads": 1},
        "state": "state",
        "server": settings,
    }
    (folder / "site.yaml").write_text(yaml.safe_dump(config))
    return open_station(folder / "site.yaml")
