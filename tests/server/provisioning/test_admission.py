import pytest
from admissions import NOW, MemoryFlower, public_key, write_consortium
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from filelock import FileLock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ra_core.daemons.processes import free_ports
from ra_core.errors import AdmissionError, ConfigError, ConnectError, FlowerError
from ra_core.keys import fingerprint, parse_public_key
from server.provisioning.admission import admit, reached, revoke
from server.provisioning.provision import provision
from server.provisioning.registry import load_site, load_sites

SITES = ["north", "south west"]


@pytest.fixture
def flower():
    return MemoryFlower()


@pytest.fixture
def consortium(tmp_path):
    consortium = write_consortium(tmp_path)
    provision(consortium, False, NOW)
    return consortium


@pytest.fixture
def keys(tmp_path):
    return [public_key(tmp_path / f"{number}.pub") for number in range(3)]


def mark(path):
    return fingerprint(parse_public_key(path.read_bytes()))


def files(consortium):
    return {path.name: path.read_bytes() for path in consortium.registry.iterdir()}


def refused(consortium, flower, name, key, *words, replace=False):
    before, active = files(consortium), flower.active()
    with pytest.raises(AdmissionError) as caught:
        admit(consortium, flower, name, key, replace, NOW)
    told = f"{caught.value.message} {caught.value.hint}"
    assert all(word in told for word in words), told
    assert (files(consortium), flower.active()) == (before, active)


def test_a_site_is_invited_admitted_and_revoked(consortium, flower, keys):
    assert load_site(consortium, "north").state == "invited"
    told = admit(consortium, flower, "north", keys[0], False, NOW)
    record = load_site(consortium, "north")
    assert (record.state, record.fingerprint, {record.node_id}) == ("admitted", mark(keys[0]), flower.active())
    assert mark(keys[0]) in told[-1]
    revoke(consortium, flower, "north", NOW)
    record = load_site(consortium, "north")
    assert (record.state, record.fingerprint, record.node_id, flower.active()) == ("revoked", "", None, set())
    assert [(key.fingerprint, key.why) for key in record.former] == [(mark(keys[0]), "revoked")]
    assert load_site(consortium, "south west").state == "invited"


def test_the_same_key_again_changes_nothing(consortium, flower, keys):
    admit(consortium, flower, "north", keys[0], False, NOW)
    before = files(consortium)
    for replace in (False, True):
        told = admit(consortium, flower, "north", keys[0], replace, NOW.replace(year=2031))
        assert "nothing was changed" in told[-1]
    assert files(consortium) == before
    assert len(flower.status) == 1


def test_a_comment_makes_no_other_key(consortium, flower, keys):
    admit(consortium, flower, "north", keys[0], False, NOW)
    keys[0].write_text(keys[0].read_text().strip() + " someone@north\n")
    assert "nothing was changed" in admit(consortium, flower, "north", keys[0], False, NOW)[-1]


def test_an_unknown_site_is_refused_with_the_known_ones(consortium, flower, keys):
    for name in ("norht", "../sites/north", ""):
        refused(consortium, flower, name, keys[0], "no site", "north, south west")
        with pytest.raises(AdmissionError, match="no site"):
            revoke(consortium, flower, name, NOW)


def test_a_site_that_left_the_settings_can_go_but_not_come(consortium, flower, keys):
    admit(consortium, flower, "north", keys[0], False, NOW)
    consortium = write_consortium(consortium.file.parent, sites=["south west"])
    refused(consortium, flower, "north", keys[1], "has left", replace=True)
    revoke(consortium, flower, "north", NOW)
    assert flower.active() == set()


def test_a_key_is_one_sites(consortium, flower, keys):
    admit(consortium, flower, "north", keys[0], False, NOW)
    refused(consortium, flower, "south west", keys[0], "is that of north", "ra-client keygen")
    admit(consortium, flower, "north", keys[1], True, NOW)
    refused(consortium, flower, "south west", keys[0], "is that of north")


def test_a_second_key_needs_to_be_asked_for(consortium, flower, keys):
    admit(consortium, flower, "north", keys[0], False, NOW)
    refused(consortium, flower, "north", keys[1], mark(keys[0]), "--replace")
    admit(consortium, flower, "north", keys[1], True, NOW)
    record = load_site(consortium, "north")
    assert (record.fingerprint, {record.node_id}) == (mark(keys[1]), flower.active())
    assert [(key.fingerprint, key.why) for key in record.former] == [(mark(keys[0]), "replaced")]
    refused(consortium, flower, "north", keys[0], "was replaced", "never", replace=True)


def test_a_revoked_site_comes_back_with_a_new_key_only(consortium, flower, keys):
    admit(consortium, flower, "north", keys[0], False, NOW)
    revoke(consortium, flower, "north", NOW)
    refused(consortium, flower, "north", keys[0], "was revoked", "never", replace=True)
    admit(consortium, flower, "north", keys[1], False, NOW)
    assert load_site(consortium, "north").state == "admitted"
    assert mark(keys[0]) in {key.fingerprint for key in load_site(consortium, "north").former}


def test_a_revoked_key_stays_out_though_the_database_is_lost(consortium, flower, keys):
    admit(consortium, flower, "north", keys[0], False, NOW)
    revoke(consortium, flower, "north", NOW)
    flower.forget()
    refused(consortium, flower, "north", keys[0], "never")


def test_a_lost_database_is_told_and_filled_again(consortium, flower, keys):
    admit(consortium, flower, "north", keys[0], False, NOW)
    flower.forget()
    told = admit(consortium, flower, "north", keys[0], False, NOW)
    assert "had lost the key of north" in told[-1]
    assert {load_site(consortium, "north").node_id} == flower.active()
    assert load_site(consortium, "north").former == ()


def test_revoking_twice_says_so(consortium, flower, keys):
    admit(consortium, flower, "north", keys[0], False, NOW)
    revoke(consortium, flower, "north", NOW)
    before = files(consortium)
    assert revoke(consortium, flower, "north", NOW) == ["north is out already"]
    assert files(consortium) == before


def test_revoking_one_that_never_came_keeps_it_in_the_books(consortium, flower):
    revoke(consortium, flower, "north", NOW)
    assert (load_site(consortium, "north").state, load_site(consortium, "north").former) == ("revoked", ())


def test_a_revocation_that_broke_off_is_ended_by_the_next(consortium, flower, keys, monkeypatch):
    admit(consortium, flower, "north", keys[0], False, NOW)
    with monkeypatch.context() as broken:
        broken.setattr(flower, "unregister", lambda node: (_ for _ in ()).throw(FlowerError("gone")))
        with pytest.raises(FlowerError):
            revoke(consortium, flower, "north", NOW)
    assert load_site(consortium, "north").state == "revoked"
    revoke(consortium, flower, "north", NOW)
    assert flower.active() == set()


def test_a_key_that_was_let_in_behind_our_back_is_shut_out(consortium, flower, keys):
    stray = flower.register(keys[0])
    told = admit(consortium, flower, "north", keys[1], False, NOW)
    assert str(stray) in told[0]
    assert flower.active() == {load_site(consortium, "north").node_id}


def private_key(kind):
    return kind.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


EC = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
OPENSSH = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (private_key(EC), "private key"),
        (private_key(ED), "private key"),
        (pem(EC), "OpenSSH"),
        (ED.public_key().public_bytes(*OPENSSH), "elliptic curve"),
        (EC.public_key().public_bytes(*OPENSSH)[:-40], "OpenSSH"),
        (b"", "OpenSSH"),
        (b"\xff\x00garbage", "OpenSSH"),
    ],
    ids=["private EC", "private ED25519", "PEM", "ED25519", "cut short", "empty", "garbage"],
)
def test_what_is_no_sites_public_key_is_refused(consortium, flower, tmp_path, content, word):
    path = tmp_path / "sent.pub"
    path.write_bytes(content)
    refused(consortium, flower, "north", path, str(path), word)


def test_a_missing_file_is_named(consortium, flower, tmp_path):
    refused(consortium, flower, "north", tmp_path / "none.pub", "none.pub", "FileNotFoundError")


def test_a_damaged_record_is_named(consortium, flower, keys):
    (consortium.registry / "south west.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"south west\.json"):
        admit(consortium, flower, "north", keys[0], False, NOW)


def test_a_server_that_does_not_run_is_told_though_another_has_its_ports(consortium, monkeypatch):
    monkeypatch.setattr("server.provisioning.admission.serving", lambda address: True)
    with pytest.raises(ConnectError, match="doesn't run") as caught:
        reached(consortium)
    assert "ra-server start" in caught.value.hint


def test_a_superlink_that_is_not_up_yet_is_told(tmp_path):
    consortium = write_consortium(tmp_path, health=free_ports(1)[0])
    consortium.folder.mkdir()
    with FileLock(consortium.folder / ".daemon.lock"), pytest.raises(ConnectError, match="not up yet") as caught:
        reached(consortium)
    assert "ra-server status" in caught.value.hint


@pytest.fixture(scope="module")
def machine_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("machine")


def test_whatever_is_done_the_superlink_follows_the_registry(machine_folder):
    keys = [public_key(machine_folder / f"{number}.pub") for number in range(4)]
    number = iter(range(10**6))

    class Admission(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.consortium = write_consortium(machine_folder / str(next(number)))
            provision(self.consortium, False, NOW)
            self.flower, self.gone = MemoryFlower(), set()

        @rule(site=st.sampled_from(SITES), key=st.sampled_from(keys), replace=st.booleans())
        def admit(self, site, key, replace):
            try:
                admit(self.consortium, self.flower, site, key, replace, NOW)
            except AdmissionError:
                return
            assert load_site(self.consortium, site).fingerprint == mark(key)
            assert load_site(self.consortium, site).node_id in self.flower.active()

        @rule(site=st.sampled_from(SITES))
        def revoke(self, site):
            revoke(self.consortium, self.flower, site, NOW)
            assert load_site(self.consortium, site).state == "revoked"

        @rule()
        def lose_the_database(self):
            self.flower.forget()

        @invariant()
        def nobody_is_in_but_by_the_registry(self):
            records = load_sites(self.consortium).values()
            assert self.flower.active() <= {record.node_id for record in records if record.state == "admitted"}

        @invariant()
        def a_key_that_went_stays_out(self):
            records = load_sites(self.consortium).values()
            former = {key.fingerprint for record in records for key in record.former}
            assert self.gone <= former
            assert not former & {record.fingerprint for record in records}
            self.gone = former

        @invariant()
        def no_two_sites_have_one_key(self):
            present = [r.fingerprint for r in load_sites(self.consortium).values() if r.fingerprint]
            assert len(present) == len(set(present))

    Admission.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
    Admission.TestCase().runTest()
