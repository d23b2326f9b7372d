import os
import stat

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from client.cli import app
from client.member.keys import make_key, make_keys, make_signing_key, site_key_path
from ra_core.errors import ConfigError
from ra_core.keys import fingerprint, parse_public_key

SITE = {"name": "North", "anatomy": "brain", "modality": "MR", "data": {"site": "north"}}


def write_site(folder, **server):
    path = folder / "site.yaml"
    more = {"server": {"address": "fed.example.org:443"} | server} if server else {}
    path.write_text(yaml.safe_dump(SITE | more))
    return path


def load_private(path):
    return serialization.load_ssh_private_key(path.read_bytes(), None)


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_a_key_is_openssh_p384_and_for_nobody_else(tmp_path, mask):
    earlier = os.umask(mask)
    try:
        make_key(tmp_path / "new" / "site.key")
    finally:
        os.umask(earlier)
    path = tmp_path / "new" / "site.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert isinstance(load_private(path).curve, ec.SECP384R1)
    assert sorted(p.name for p in path.parent.iterdir()) == ["site.key", "site.key.pub"]


def test_the_public_half_is_beside_it_and_its_fingerprint_is_told(tmp_path):
    told = make_key(tmp_path / "site.key")
    public = (tmp_path / "site.key.pub").read_bytes()
    assert public.startswith(b"ecdsa-sha2-nistp384 ")
    assert parse_public_key(public) == load_private(tmp_path / "site.key").public_key()
    assert told[-1] == fingerprint(parse_public_key(public))
    assert "site.key.pub" in told[1]
    assert "PRIVATE" not in "".join(told)


def test_flower_takes_both_halves(tmp_path):
    from argparse import Namespace

    from flwr.cli.supernode.register import try_load_public_key
    from flwr.supernode.cli.flower_supernode import _try_setup_client_authentication

    make_key(tmp_path / "site.key")
    given = Namespace(auth_supernode_private_key=str(tmp_path / "site.key"), auth_supernode_public_key=None)
    private, _ = _try_setup_client_authentication(given)
    loaded = serialization.load_pem_public_key(try_load_public_key(tmp_path / "site.key.pub"))
    assert loaded == private.public_key()


@pytest.mark.parametrize("name", ["site.key", "site.key.pub"])
def test_nothing_is_written_over(tmp_path, name):
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(ConfigError, match=name):
        make_key(tmp_path / "site.key")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"precious")]


def test_the_site_config_says_where(tmp_path):
    assert site_key_path(write_site(tmp_path, private_key="keys/a.key")) == tmp_path / "keys" / "a.key"


@pytest.mark.parametrize("server", [{}, {"ca_certificate": "ca.crt"}])
def test_a_site_config_that_does_not_say_is_told_how(tmp_path, server):
    with pytest.raises(ConfigError, match="private_key") as caught:
        site_key_path(write_site(tmp_path, **server))
    assert "--out" in caught.value.hint


class TestSigningKey:
    @pytest.fixture
    def site(self, tmp_path):
        path = write_site(tmp_path, private_key="site.key")
        found = yaml.safe_load(path.read_text()) | {"secure_aggregation": {"signing_key": "signing.key"}}
        path.write_text(yaml.safe_dump(found))
        return path

    def told(self, site):
        done = CliRunner().invoke(app, ["keygen", str(site)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    def test_it_is_made_with_the_other_one_and_its_fingerprint_is_told(self, site):
        said = self.told(site)
        key = load_private(site.with_name("signing.key"))
        assert isinstance(key, Ed25519PrivateKey)
        assert stat.S_IMODE(site.with_name("signing.key").stat().st_mode) == 0o600
        assert said.split()[-1] == fingerprint(key.public_key())
        assert fingerprint(load_private(site.with_name("site.key")).public_key()) in said
        assert "PRIVATE" not in said

    def test_a_member_makes_it_alone(self, site):
        make_key(site.with_name("site.key"))
        before = site.with_name("site.key").read_bytes()
        assert "site.key:" not in self.told(site)
        assert site.with_name("site.key").read_bytes() == before
        with pytest.raises(ConfigError, match=r"site\.key: is there already"):
            make_keys(site)

    def test_nothing_is_written_over(self, site):
        site.with_name("signing.key.pub").write_bytes(b"precious")
        with pytest.raises(ConfigError, match=r"signing\.key\.pub"):
            make_signing_key(site.with_name("signing.key"))
        assert not site.with_name("signing.key").exists()


def test_the_command_needs_no_site_config_with_out(tmp_path):
    done = CliRunner().invoke(app, ["keygen", "--out", str(tmp_path / "k")], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.split()[-1] == fingerprint(load_private(tmp_path / "k").public_key())
