"""Who comes in and who doesn't, with a real SuperLink and real sites; both sides say why."""

import datetime as dt

import pytest
from admissions import write_consortium
from federation import Federation, wait_until

from ra_core.errors import AdmissionError, ConnectError
from ra_core.keys import fingerprint, parse_public_key
from server.flower import control
from server.provisioning.provision import provision
from server.provisioning.registry import load_site

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def federation(site_root, tmp_path_factory):
    """A server, and two sites that are not admitted yet."""
    with Federation(tmp_path_factory.mktemp("admission"), site_root) as federation:
        federation.provision()
        federation.start_server()
        yield federation


def key_of(federation, name, number=""):
    """The site's key, made if there is none; its public half and fingerprint."""
    path = federation.folder / "sites" / f"{name}{number}.key"
    if not path.exists():
        federation.client("keygen", "--out", path)
    public = path.with_name(f"{path.name}.pub")
    return public, fingerprint(parse_public_key(public.read_bytes()))


def says(federation, name, *words):
    """Wait until a site has said something."""
    wait_until(lambda: federation.ended(name) or all(w in federation.log(name) for w in words), f"{name}: {words}")


def statuses(federation):
    return {int(node.node): node.status for node in control(federation.consortium).nodes()}


def test_a_site_that_is_not_admitted_waits_until_it_is_then_goes_when_it_is_revoked(federation):
    public, mark = key_of(federation, "anna")
    federation.start_site("anna")
    says(federation, "anna", "is not admitted", mark)
    assert statuses(federation) == {}
    assert mark in federation.server("admit", "anna", public)
    federation.await_online("anna")
    assert "nothing was changed" in federation.server("admit", "anna", public)

    node = load_site(federation.consortium, "anna").node_id
    seen = federation.log("anna").count("is not admitted")
    federation.server("revoke", "anna")
    assert statuses(federation) == {node: "unregistered"}
    wait_until(lambda: federation.log("anna").count("is not admitted") > seen, "anna sees that it is out")
    assert "anna" not in federation.online()
    refusal = federation.server("admit", "anna", public, code=AdmissionError.exit_code)
    assert "never let in again" in refusal
    assert statuses(federation) == {node: "unregistered"}


@pytest.mark.night
def test_a_lost_key_is_replaced_and_the_old_one_is_out(federation):
    (old, _), (new, mark) = key_of(federation, "berta"), key_of(federation, "berta", "2")
    federation.server("admit", "berta", old)
    first = load_site(federation.consortium, "berta").node_id
    assert "--replace" in federation.server("admit", "berta", new, code=AdmissionError.exit_code)
    federation.server("admit", "berta", new, "--replace")
    second = load_site(federation.consortium, "berta").node_id
    found = statuses(federation)
    assert (found[first], found[second]) == ("unregistered", "registered")
    assert load_site(federation.consortium, "berta").fingerprint == mark
    assert "was replaced" in federation.server("admit", "berta", old, "--replace", code=AdmissionError.exit_code)


@pytest.mark.parametrize("name", ["nobody", "../sites/anna"])
def test_an_unknown_site_is_refused_by_name(federation, name):
    public, _ = key_of(federation, "berta", "3")
    printed = federation.server("admit", name, public, code=AdmissionError.exit_code)
    assert f"'{name}' is no site" in printed
    assert "anna, berta" in printed


def test_a_private_key_sent_by_mistake_is_refused(federation):
    public, _ = key_of(federation, "berta", "4")
    private = public.with_suffix("")
    assert "private key" in federation.server("admit", "berta", private, code=AdmissionError.exit_code)


def test_a_key_that_flower_had_behind_the_registrys_back_is_not_kept(federation):
    public, _ = key_of(federation, "berta", "5")
    stray = control(federation.consortium).register(public)
    current, _ = key_of(federation, "berta", "2")
    assert str(stray) in federation.server("admit", "berta", current)
    assert statuses(federation)[stray] == "unregistered"


@pytest.mark.night
def test_a_lost_database_is_filled_again_by_the_same_commands(site_root, tmp_path):
    with Federation(tmp_path / "lost", site_root, names=("anna",)) as federation:
        federation.provision()
        federation.start_server()
        federation.admit("anna")
        federation.kill("server", 15)
        for path in federation.consortium.flower.glob("state.db*"):
            path.unlink()
        federation.start_server()
        assert statuses(federation) == {}
        assert "had lost the key of anna" in federation.admit("anna")
        assert list(statuses(federation)) == [load_site(federation.consortium, "anna").node_id]


def test_without_a_server_nothing_is_admitted(site_root, tmp_path):
    with Federation(tmp_path / "none", site_root, names=("anna",)) as federation:
        federation.provision()
        public, _ = key_of(federation, "anna")
        for command in (("admit", "anna", public), ("revoke", "anna")):
            assert "doesn't run" in federation.server(*command, code=ConnectError.exit_code)
        assert load_site(federation.consortium, "anna").state == "invited"


def test_a_site_trusts_neither_a_foreign_server_nor_an_expired_one(site_root, tmp_path):
    with Federation(tmp_path / "distrust", site_root) as federation:
        federation.provision()
        other = write_consortium(tmp_path / "other")
        provision(other, False, NOW)
        federation.change_server("anna", ca_certificate=str(other.ca_certificate))
        provision(federation.consortium, True, NOW - dt.timedelta(days=366))
        assert "server.crt has expired" in federation.server("provision")
        for name in ("anna", "berta"):
            key_of(federation, name)
            federation.start_site(name)
        federation.start_server()
        says(federation, "anna", "not issued by this consortium")
        says(federation, "berta", "certificate has expired")
        assert all(federation.daemons[name].poll() is None for name in ("anna", "berta"))
