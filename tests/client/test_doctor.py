"""Each check of the doctor: well, and not."""

import datetime as dt
import json
import os
import shutil

import pytest
import torch
import yaml
from filelock import FileLock
from stations import NOW, UNKNOWN, Server, make_authority, write_station
from typer.testing import CliRunner

from client.cli import app
from client.doctor import machine, way
from client.doctor.finding import State
from client.doctor.run import examine
from client.ledger.book import Ledger
from client.ledger.line import EMPTY
from ra_core.daemons.events import Events
from ra_core.errors import VersionError

A = "a" * 64


@pytest.fixture(scope="module")
def issuer():
    return make_authority()


@pytest.fixture
def site(tmp_path, issuer, site_root, monkeypatch):
    """Where all is well; given how its server differs, what each check says."""
    monkeypatch.setattr(machine, "ROOM", 1)

    def looked_at(change=lambda _: None, settings=None, trusted=None, **how):
        with Server(tmp_path, issuer, **how).running() as server:
            path = write_station(tmp_path, trusted or issuer, server.port, allowed=[A]).file
            found = yaml.safe_load(path.read_text()) | {"data": {"site": "discs", "root": str(site_root)}}
            path.write_text(yaml.safe_dump(found | (settings or {})))
            change(path)
            return {finding.check: finding for finding in examine(path, None, tmp_path / "cache")}

    return looked_at


def problems(found):
    return [name for name, finding in found.items() if finding.state is State.PROBLEM]


def test_all_is_well(site):
    found = site()
    assert {name: finding.what for name, finding in found.items() if finding.state is not State.OK} == {}
    assert list(found)[:3] == ["config", "packages", "versions"]


@pytest.mark.parametrize(
    ("how", "problem", "code", "skipped"),
    [
        ({"answer": UNKNOWN}, "admission", 22, []),
        ({"issued": NOW - dt.timedelta(days=399)}, "certificate", 25, ["clock", "admission"]),
        ({"ahead": 400.0}, "clock", 25, ["admission"]),
        ({"trusted": make_authority("Other")}, "certificate", 25, ["clock", "admission"]),
    ],
)
def test_what_is_wrong_with_the_server_is_told_apart(site, how, problem, code, skipped):
    found = site(**how)
    assert problems(found) == [problem]
    assert found[problem].code == code
    assert found[problem].fix
    assert [name for name, finding in found.items() if finding.state is State.SKIPPED] == skipped


def key_for_all(path):
    (path.parent / "site.key").chmod(0o644)


def no_key(path):
    (path.parent / "site.key").unlink()


def no_ca(path):
    (path.parent / "ca.crt").unlink()


def no_bundles(path):
    settings = yaml.safe_load(path.read_text())
    del settings["server"]["allowed"]
    path.write_text(yaml.safe_dump(settings))


def changed_ledger(path):
    ledger = Ledger.of(path.parent / "state", "discs")
    with ledger.opened() as book:
        book.begin(EMPTY, "p" * 64)
    ledger.file.write_bytes(ledger.file.read_bytes().replace(b"begin", b"begun"))


def lost_ledger(path):
    ledger = Ledger.of(path.parent / "state", "discs")
    with ledger.opened() as book:
        book.begin(EMPTY, "p" * 64)
        book.acknowledge(book.head)
    ledger.file.unlink()


@pytest.mark.parametrize(
    ("change", "problem", "code"),
    [
        (lost_ledger, "ledger", 30),
        (key_for_all, "key", 10),
        (no_key, "key", 10),
        (no_ca, "ca", 10),
        (no_bundles, "bundles", 26),
        (changed_ledger, "ledger", 30),
    ],
)
def test_what_is_wrong_here(site, change, problem, code):
    found = site(change)
    assert problems(found) == [problem]
    assert found[problem].code == code
    assert found[problem].fix


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"data": {"site": "discs", "root": "nowhere"}}, "data"),
        ({"data": {"site": "discs"}}, "data"),
        ({"data": {"site": "discs", "root": ".", "manifest": "no.csv"}}, "data"),
        ({"runtime": {"device": "cuda:99"}}, "device"),
        ({"policy": {"dp_epsilon": 3.0}}, "ledger"),
        ({"secure_aggregation": {"signing_key": "k", "sites": {"discs": f"SHA256:{43 * 'A'}"}}}, "ledger"),
    ],
)
def test_what_is_wrong_in_the_config(site, settings, problem):
    assert problems(site(settings=settings)) == [problem]


def test_folders_need_no_manifest(site):
    assert problems(site(settings={"data": {"site": "discs", "root": ".", "folder": {}}})) == []


def test_a_full_disk(site, monkeypatch):
    monkeypatch.setattr(machine, "ROOM", shutil.disk_usage("/").total * 1000)
    assert problems(site()) == ["state", "cache"]


def test_a_device_that_does_not_work(site, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch, "zeros", broken)
    assert problems(site()) == ["device"]


def test_another_flower_or_another_package(site, monkeypatch):
    def other():
        raise VersionError("another", "install")

    monkeypatch.setattr("client.doctor.run.check_flower", other)
    monkeypatch.setattr("client.doctor.run.refuse_foreign", other)
    found = site()
    assert problems(found) == ["packages", "versions"]
    assert found["packages"].code == 23


def test_a_ca_that_ends_soon_and_one_that_has_ended(site, tmp_path, monkeypatch):
    monkeypatch.setattr(way, "EXPIRY_DAYS", 10**6)
    assert "days: ask the operator" in site()["ca"].what

    class Later(dt.datetime):
        @classmethod
        def now(cls, zone):
            return NOW + dt.timedelta(days=10**5)

    monkeypatch.setattr(way, "datetime", Later)
    assert problems(site()) == ["ca"]


def test_a_daemon_is_told_of(site, tmp_path, monkeypatch):
    state = tmp_path / "state"
    state.mkdir()
    assert "does not run" in site()["daemon"].what
    with FileLock(state / ".daemon.lock", timeout=0):
        assert "reads the images" in site()["daemon"].what
        (state / "daemon.json").write_text(json.dumps({"pid": 1, "health": "127.0.0.1:1", "started": "today"}))
        events = Events(state / "daemon.jsonl")
        events.tell("waiting", kind="X", why="nobody answers", hint="")
        found = site()
        assert problems(found) == ["daemon"]
        assert "runs since today, but isn't connected: nobody answers" in found["daemon"].what
        events.tell("connected", node="1")
        assert problems(site()) == ["daemon"]  # its health is asked too
        monkeypatch.setattr(machine, "serving", lambda _: True)
        assert site()["daemon"].what == "runs since today, connected"
    assert "does not run" in site()["daemon"].what


def test_a_config_that_can_not_join_ends_it_early(tmp_path):
    (tmp_path / "site.yaml").write_text("name: x\n")
    found = examine(tmp_path / "site.yaml", None, None)
    assert [finding.check for finding in found] == ["config", "packages", "versions"]
    assert found[0].code == 10


def run(tmp_path, issuer, answer, *more):
    with Server(tmp_path, issuer, answer).running() as server:
        path = write_station(tmp_path, issuer, server.port, allowed=[A]).file
        os.makedirs(tmp_path / "images", exist_ok=True)
        settings = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump(settings | {"data": {"site": "anna", "root": "images", "folder": {}}}))
        return CliRunner().invoke(app, ["doctor", str(path), "--cache", str(tmp_path), *more])


def test_the_command_ends_with_the_first_problems_code(tmp_path, issuer, monkeypatch):
    monkeypatch.setattr(machine, "ROOM", 1)
    assert run(tmp_path, issuer, (400, {"code": 2003, "detail": ""})).exit_code == 0
    result = run(tmp_path, issuer, UNKNOWN)
    assert result.exit_code == 22
    assert "problem  admission   the key of site 'anna' is not admitted" in result.output
    assert "-> send the public key" in result.output
    told = json.loads(run(tmp_path, issuer, UNKNOWN, "--json").output)
    assert [one["check"] for one in told if one["state"] == "problem"] == ["admission"]
    assert all(set(one) == {"check", "state", "what", "fix", "code"} for one in told)
    assert str(tmp_path) not in result.output
