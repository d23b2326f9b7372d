"""Debian's nginx with the configuration that provisioning writes, before a real SuperLink."""

import http.client
import shutil
import ssl
import subprocess

import pytest
from admissions import public_key
from consortia import own_ports
from federation import Federation, wait_until

from ra_core.address import split_address
from ra_core.daemons.environment import flower_environment
from ra_core.errors import FlowerError
from server.flower import Flower, control, write_connection
from server.provisioning.nginx import LOG

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
MAIN = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/federated-ra.conf;
}}
"""
CONTROL = "/v1/control/list-nodes"
PROTOBUF = {"Content-Type": "application/protobuf"}
REFUSED = r"403|[Ff]orbidden"


class Proxy:
    """nginx in a folder of its own; its log is there too."""

    def __init__(self, folder, consortium):
        folder.mkdir()
        self.folder, self.consortium = folder, consortium
        generated = consortium.nginx.read_text()
        assert str(LOG) in generated
        (folder / "federated-ra.conf").write_text(generated.replace(str(LOG), str(folder / "access.log")))
        (folder / "main.conf").write_text(MAIN.format(folder=folder))
        self.command = [NGINX, "-c", str(folder / "main.conf"), "-p", str(folder), "-e", str(folder / "error.log")]

    def test(self):
        return subprocess.run([*self.command, "-t"], capture_output=True, text=True, check=False)  # noqa: S603

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)  # noqa: S603
        wait_until(self.answers, "nginx answers", 30)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def answers(self):
        assert self.process.poll() is None, (self.folder / "error.log").read_text()
        try:
            return self.ask("GET", "/")
        except ConnectionError:
            return None

    def ask(self, method, path, body=b"", headers=PROTOBUF):
        """Status of an answer to a request, whose path is sent as it is."""
        host, port = split_address(self.consortium.config.address)
        trust = ssl.create_default_context(cafile=self.consortium.ca_certificate)
        connection = http.client.HTTPSConnection(host, port, context=trust, timeout=30)
        try:
            connection.request(method, path, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def log(self):
        return (self.folder / "access.log").read_text()


@pytest.fixture(scope="module")
def federation(site_root, tmp_path_factory):
    """A server behind a public port, and a site that knows the public one only."""
    if NGINX is None:
        pytest.skip("nginx isn't installed")
    folder = tmp_path_factory.mktemp("nginx")
    public = f"127.0.0.1:{own_ports(1)[0]}"
    with Federation(folder / "federation", site_root, names=("anna",), address=public) as federation:
        federation.provision()
        federation.start_server()
        yield federation


@pytest.fixture(scope="module")
def proxy(federation):
    with Proxy(federation.folder / "nginx", federation.consortium) as proxy:
        yield proxy


def test_debians_nginx_takes_the_configuration(federation, proxy):
    done = proxy.test()
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_a_site_joins_through_it(federation, proxy):
    federation.admit("anna")
    federation.start_site("anna")
    federation.await_online("anna")
    assert " 200 " not in proxy.log()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/health",
        CONTROL,
        "/v1/runtime/acquire-task",
        "/v1/fleet",
        "/v1/fleetx/pull-messages",
        "/v1/fleet/..%2fcontrol/list-nodes",
        "/v1/fleet/../control/list-nodes",
        "/v1/fleet/%2e%2e/control/list-nodes",
        "/v1/fleet//..//../control/list-nodes",
        "//v1/control/list-nodes",
        "/V1/control/list-nodes",
        "/v1/control/list-nodes?/v1/fleet/",
        "/v1/control/list-nodes#/v1/fleet/",
        "/v1/control/list-nodes;/../fleet/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_other_path_gets_through(proxy, method, path):
    assert proxy.ask(method, path) == (301 if path == "/v1/fleet" else 403)


def test_what_reaches_the_superlink_is_the_path_that_was_compared(proxy):
    """Passed on as they came, these would be control calls to whoever drops what follows, or what goes up."""
    for path in ("/v1/control/../fleet/pull-messages", "/v1/fleet/x/../pull-messages", "/v1//fleet/pull-messages"):
        assert proxy.ask("POST", path) == proxy.ask("POST", "/v1/fleet/pull-messages")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_sites_post_and_do_nothing_else(proxy, method):
    assert proxy.ask(method, "/v1/fleet/pull-messages") == 403


def test_pieces_of_models_get_through_and_floods_do_not(proxy):
    assert proxy.ask("POST", "/v1/fleet/push-object", bytes(6 << 20)) not in (403, 413, 502, 504)
    assert proxy.ask("POST", "/v1/fleet/push-object", bytes(17 << 20)) == 413


def test_who_is_not_known_is_refused_by_the_superlink_itself(proxy):
    assert proxy.ask("POST", "/v1/fleet/pull-messages") == 401


def test_the_log_has_refusals_and_no_headers(proxy):
    proxy.ask("POST", CONTROL, headers={"Authorization": "Bearer secret-token", "Cookie": "a=secret-token"})
    assert CONTROL in proxy.log()
    assert "secret-token" not in proxy.log()


def test_flowers_own_command_is_refused_at_the_public_port_and_works_behind_it(federation, proxy, tmp_path):
    consortium = federation.consortium
    assert control(consortium).nodes() is not None
    write_connection(tmp_path, consortium.config.address, consortium.ca_certificate)
    public = Flower(flower_environment(tmp_path))
    for call in (public.nodes, lambda: public.unregister(1), lambda: public.stop(1)):
        with pytest.raises(FlowerError, match=REFUSED):
            call()
    with pytest.raises(FlowerError, match=REFUSED):
        public.register(public_key(tmp_path / "new.pub"))
