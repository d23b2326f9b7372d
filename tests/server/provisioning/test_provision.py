import os
import stat

import pytest
from admissions import NOW, MemoryFlower, public_key, write_consortium
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from client.terms import rests_on_ledger
from ra_core.config import SITE_NAME, SiteConfig
from ra_core.errors import ConfigError
from ra_core.settings import load_config
from server.bundle import bundle_hash
from server.provisioning.admission import admit
from server.provisioning.provision import load_authority, provision
from server.provisioning.registry import load_sites

SITES = ["north", "south west"]


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def consortium(tmp_path):
    consortium = write_consortium(tmp_path)
    provision(consortium, False, NOW)
    return consortium


def changed(consortium, **changes):
    """The same consortium with other settings, provisioned again; names of files that changed, and what was told."""
    before = content(consortium.folder)
    consortium = write_consortium(consortium.file.parent, **changes)
    told = provision(consortium, False, NOW)
    after = content(consortium.folder)
    assert set(before) <= set(after)
    return {name for name in after if before.get(name) != after[name]}, "\n".join(told)


def test_again_changes_nothing(consortium):
    names, told = changed(consortium)
    assert names == set()
    assert "nothing was changed" in told


def test_a_new_site_gets_a_kit_and_no_other_file_changes(consortium):
    names, told = changed(consortium, sites=["north", "south west", "east"])
    assert names == {"kits/east/ca.crt", "kits/east/README.md", "kits/east/site.yaml", "sites/east.json"}
    assert "kit of east" in told
    assert "north" not in told


def test_new_names_renew_the_server_alone(consortium):
    key = consortium.server_key.read_bytes()
    names, told = changed(consortium, names=["alias.example.org"])
    assert names == {"tls/server.crt", "nginx.conf"}
    assert consortium.server_key.read_bytes() == key
    assert "its names have changed" in told
    assert changed(consortium, names=["alias.example.org"])[0] == set()


def test_another_order_of_names_renews_nothing(consortium):
    changed(consortium, names=["b.example.org", "a.example.org"])
    assert "tls/server.crt" not in changed(consortium, names=["a.example.org", "B.example.org"])[0]


def test_renewing_makes_a_new_certificate_for_the_same_key(consortium):
    before = content(consortium.folder)
    provision(consortium, True, NOW)
    after = content(consortium.folder)
    assert {name for name in after if before[name] != after[name]} == {"tls/server.crt"}


def test_a_moved_server_is_told_to_those_who_hold_the_old_address(consortium):
    names, told = changed(consortium, address="new.example.org:443")
    assert names == {"tls/server.crt", "nginx.conf"}
    for site in SITES:
        assert f"{site} was told another address" in told


def test_a_new_bundle_is_told_to_those_who_allow_the_old_one(consortium, monkeypatch):
    monkeypatch.setattr("server.provisioning.provision.bundle_hash", lambda: "f" * 64)
    names, told = changed(consortium)
    assert names == set()
    assert told.count("ra-client allow " + "f" * 64) == len(SITES)


def test_a_site_that_left_but_is_let_in_is_told(consortium, tmp_path):
    admit(consortium, MemoryFlower(), "north", public_key(tmp_path / "k.pub"), False, NOW)
    assert "ra-server revoke 'north'" in changed(consortium, sites=["south west"])[1]
    assert "ra-server revoke" not in changed(consortium, sites=SITES)[1]


def test_expiry_is_told(consortium):
    end = consortium.config.certificate_days
    told = provision(consortium, False, NOW.replace(year=NOW.year + 1))
    assert end == 365
    assert any("server.crt has expired" in line for line in told)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_keys_are_for_nobody_else_whatever_the_umask(tmp_path, mask):
    earlier = os.umask(mask)
    try:
        consortium = write_consortium(tmp_path)
        provision(consortium, False, NOW)
    finally:
        os.umask(earlier)
    rights = {path: stat.S_IMODE(path.stat().st_mode) for path in (consortium.folder, *consortium.folder.rglob("*"))}
    assert rights[consortium.ca_key] == rights[consortium.server_key] == 0o600
    assert rights[consortium.tls] == rights[consortium.folder] == 0o700
    assert b"PRIVATE" not in b"".join(data for name, data in content(consortium.folder).items() if ".key" not in name)


def test_a_key_that_others_can_read_is_told(consortium):
    consortium.ca_key.chmod(0o640)
    assert "ca.key can be read by others" in changed(consortium)[1]


def test_a_kit_makes_a_site_config_and_says_what_to_do(consortium):
    for site in SITES:
        kit = consortium.kits / site
        config = load_config(kit / "site.yaml", SiteConfig)
        assert config.data.site == site
        assert config.state == kit / "state"
        assert config.server.address == "fed.example.org:443"
        assert config.server.ca_certificate.read_bytes() == consortium.ca_certificate.read_bytes()
        assert config.server.private_key == kit / "site.key"
        assert config.server.allowed == (bundle_hash(),)
        assert rests_on_ledger(config) == [], "the README's three steps are enough to join"
        readme = (kit / "README.md").read_text()
        commands = ("ra-client keygen site.yaml", "ra-client check site.yaml", "ra-client start site.yaml")
        assert all(command in readme for command in commands)
        assert sorted(path.name for path in kit.iterdir()) == ["README.md", "ca.crt", "site.yaml"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.from_regex(SITE_NAME, fullmatch=True), min_size=1, max_size=3, unique_by=str.casefold))
def test_any_name_that_is_taken_for_a_sites_gives_a_kit(tmp_path_factory, names):
    try:
        consortium = write_consortium(tmp_path_factory.mktemp("names"), sites=names)
    except ConfigError:
        assume(False)  # few of them are refused
    provision(consortium, False, NOW)
    assert set(load_sites(consortium)) == set(names)
    for name in names:
        assert load_config(consortium.kits / name / "site.yaml", SiteConfig).data.site == name


def test_what_a_broken_off_command_has_left_is_completed(tmp_path):
    consortium = write_consortium(tmp_path)
    provision(consortium, False, NOW)
    whole = content(consortium.folder)
    for name in ("kits/north/site.yaml", "kits/north/README.md", "sites/north.json", "nginx.conf"):
        (consortium.folder / name).unlink()
    provision(consortium, False, NOW)
    assert content(consortium.folder) == whole


def test_an_authority_that_was_begun_is_ended_with_its_key(tmp_path):
    consortium = write_consortium(tmp_path)
    provision(consortium, False, NOW)
    key = consortium.ca_key.read_bytes()
    for path in (consortium.ca_certificate, consortium.server_certificate, *consortium.kits.rglob("*.*")):
        path.unlink()
    provision(consortium, False, NOW)
    assert consortium.ca_key.read_bytes() == key
    load_authority(consortium)


def test_a_lost_authority_is_never_replaced(consortium):
    consortium.ca_certificate.unlink()
    before = content(consortium.folder)
    with pytest.raises(ConfigError, match="sites hold it") as caught:
        provision(consortium, False, NOW)
    assert "backup" in caught.value.hint
    assert content(consortium.folder) == before


def test_the_authoritys_key_may_be_elsewhere_until_something_is_signed(consortium):
    consortium.ca_key.rename(consortium.ca_key.with_suffix(".away"))
    assert "kit of east" in changed(consortium, sites=[*SITES, "east"])[1]
    with pytest.raises(ConfigError, match="needed to sign"):
        provision(consortium, True, NOW)


def test_another_authoritys_key_signs_nothing(consortium, tmp_path):
    other = write_consortium(tmp_path / "other")
    provision(other, False, NOW)
    consortium.ca_key.write_bytes(other.ca_key.read_bytes())
    with pytest.raises(ConfigError, match="is not the key of"):
        provision(consortium, True, NOW)


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "server.crt", "server.key"])
def test_a_damaged_file_is_named(consortium, name):
    (consortium.tls / name).write_bytes(b"garbage")
    with pytest.raises(ConfigError, match=name):
        provision(consortium, True, NOW)


@pytest.mark.parametrize("folder", ['a"b', "a$b", "a\\b"])
def test_a_folder_that_nginx_cannot_name_is_refused_before_anything_is_made(tmp_path, folder):
    consortium = write_consortium(tmp_path, folder=folder)
    with pytest.raises(ConfigError, match="nginx"):
        provision(consortium, False, NOW)
    assert content(consortium.folder) in ({}, {"registry.lock": b""})
