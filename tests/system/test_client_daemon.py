"""A hospital's daemon with a real server: who gets in, what runs, and what it does when something is killed."""

import json
import signal

import psutil
import pytest
from federation import SITE, Federation, marked, told, wait_until

from client.member.station import open_station
from ra_core.config import DIGEST
from server.flower import control

FOREIGN_APP = {
    "LICENSE": "none",
    "pyproject.toml": """
[project]
name = "thief"
version = "0.1.0"
license = { file = "LICENSE" }
dependencies = ["flwr>=1.42.0"]
[tool.flwr.app]
publisher = "thief"
fab-format-version = 1
flwr-version-target = "1.42.0"
[tool.flwr.app.components]
serverapp = "thief.apps:server"
clientapp = "thief.apps:client"
[tool.flwr.app.config]
""",
    "thief/__init__.py": "",
    "thief/apps.py": """
import json
import time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

client = ClientApp()
server = ServerApp()

@client.query()
def query(message, context):
    stolen = ConfigRecord({"stolen": json.dumps(dict(context.node_config))})
    return Message(RecordDict({"loot": stolen}), reply_to=message)

@server.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.5)
    for _ in range(2):
        orders = [Message(RecordDict(), dst_node_id=node, message_type="query") for node in nodes]
        for reply in grid.send_and_receive(orders, timeout=120):
            print("ANSWER", reply.error.reason if reply.has_error() else reply.content["loot"]["stolen"], flush=True)
""",
}


@pytest.fixture(scope="module")
def served(site_root, tmp_path_factory):
    """A server without sites."""
    with Federation(tmp_path_factory.mktemp("served"), site_root, ("anna", "berta", "carla")) as federation:
        federation.provision()
        federation.start_server()
        yield federation


@pytest.fixture
def site(served):
    """Starts sites, and ends them with the test."""
    started = []

    def start(name):
        started.append(name)
        served.start_site(name)
        return open_station(served.config(name))

    yield start
    for name in started:
        if name in served.daemons:
            served.kill(name, signal.SIGTERM)


def await_told(served, station, kind, count=1):
    name = station.site
    wait_until(lambda: len(told(station.events, kind)) >= count or served.ended(name), f"{count} x {kind} at {name}")
    return told(station.events, kind)[count - 1]


def await_said(served, name, words):
    wait_until(lambda: words in served.log(name) or served.ended(name), f"{name} says {words}")


def processes(station):
    """All that belong to a site's daemon, but itself."""
    return marked(SITE, str(station.state))


def supernode(station):
    return psutil.Process(told(station.events, "started")[-1]["pid"])


def test_a_key_waits_until_it_is_admitted(served, site):
    served.client("keygen", served.config("anna"))
    assert "admission" in served.client("doctor", served.config("anna"), code=22)
    station = site("anna")
    waiting = await_told(served, station, "waiting", 2)
    assert waiting["kind"] == "AdmissionError"
    await_said(served, "anna", "not admitted")
    assert served.log("anna").count("not admitted") == 1
    assert waiting["why"].rpartition(" ")[2] in served.admit("anna")  # the fingerprint that both sides show
    served.await_online("anna")
    await_told(served, station, "connected")
    found = json.loads(served.client("doctor", served.config("anna"), "--json"))
    assert next(one["what"] for one in found if one["check"] == "daemon").endswith("connected")
    served.kill("anna", signal.SIGTERM)
    assert processes(station) == []
    assert "anna" not in served.online()  # it has said good-bye
    assert "stopped" in served.log("anna")


@pytest.mark.night
def test_a_killed_node_is_back_after_the_server_has_forgotten_it(served, site):
    served.admit("anna")
    station = site("anna")
    connected = len(told(station.events, "connected"))
    await_told(served, station, "connected", connected + 1)
    supernode(station).kill()
    await_told(served, station, "connected", connected + 2)
    assert told(station.events, "waiting")[-1]["kind"] == "Remembered"
    await_said(served, "anna", "it starts again")
    served.kill("anna", signal.SIGKILL)  # the daemon itself: what it leaves is ended by the next one
    left = supernode(station)
    assert left.is_running()
    site("anna")
    await_told(served, station, "connected", connected + 3)
    assert not left.is_running()


def test_a_bundle_that_was_not_allowed_does_not_run(served, site, tmp_path):
    for name, content in FOREIGN_APP.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    served.admit("berta")
    station = site("berta")
    await_told(served, station, "connected")
    flower = control(served.consortium)

    def answers():
        run = flower.submit(tmp_path, {})
        wait_until(lambda: flower.status(run).finished, "the end of the foreign run")
        return [line.partition("ANSWER ")[2] for line in flower.log(run).splitlines() if "ANSWER " in line]

    assert answers() == ["BundleError at berta"] * 2
    bundle = told(station.events, "bundle_refused")[-1]["bundle"]
    assert DIGEST.fullmatch(bundle)
    await_said(served, "berta", f"`ra-client allow {bundle}`")
    assert str(station.file) not in served.log("berta")
    served.client("allow", bundle, station.file)
    assert [json.loads(answer)["site-config"] for answer in answers()] == [str(station.file)] * 2
    served.client("allow", "--withdraw", bundle, station.file)
    assert answers() == ["BundleError at berta"] * 2


def test_a_foreign_server_is_not_trusted(served, site, site_root, tmp_path_factory):
    other = Federation(tmp_path_factory.mktemp("other"), site_root, ("carla",))  # carla's config goes on naming it
    other.provision()
    served.client("keygen", served.config("carla"))
    served.change_server("carla", ca_certificate=str(other.consortium.ca_certificate))
    station = site("carla")
    assert await_told(served, station, "waiting")["kind"] == "ConnectError"
    await_said(served, "carla", "not issued by this consortium")
    assert "certificate" in served.client("doctor", station.file, code=25)


def test_a_site_with_faulty_images_does_not_join(served):
    served.admit("carla")
    served.change_site("carla", limits={"min_side": 512})
    station = open_station(served.config("carla"))
    before = len(told(station.events, "started"))
    assert "may not join" in served.client("start", station.file, code=18)
    assert len(told(station.events, "started")) == before
