import pytest
import yaml
from admissions import SETTINGS, write_consortium

from ra_core.errors import ConfigError
from server.consortium import ConsortiumConfig, explained, load_consortium


def refused(tmp_path, *words, **changes):
    with pytest.raises(ConfigError) as caught:
        write_consortium(tmp_path, **changes)
    assert all(word in caught.value.message for word in ("consortium.yaml", *words)), caught.value.message
    assert "ra-server config" in caught.value.hint


def test_printed_settings_load_back(tmp_path):
    path = tmp_path / "printed.yaml"
    path.write_text(explained(), encoding="utf-8")
    config = load_consortium(path).config
    assert config.listen == ConsortiumConfig.model_validate(SETTINGS).listen
    assert set(yaml.safe_load(explained())) == set(ConsortiumConfig.model_fields)


def test_everything_lies_beside_the_settings(tmp_path, monkeypatch):
    write_consortium(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    consortium = load_consortium(tmp_path.__class__("there/consortium.yaml"))
    assert consortium.folder == tmp_path / "there" / "consortium"
    monkeypatch.chdir("/")
    paths = (consortium.ca_key, consortium.registry, consortium.flower, consortium.events, consortium.run("r"))
    assert all(path.is_absolute() and path.is_relative_to(tmp_path / "there" / "consortium") for path in paths)


@pytest.mark.parametrize("listen", ["0.0.0.0:9443", "fed.example.org:9443", "192.168.1.2:9443", "[::]:9443"])
def test_the_control_interface_stays_on_loopback(tmp_path, listen):
    refused(tmp_path, "listen", "loopback", listen=listen)


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.3.2.1:65535", "[::1]:9443"])
def test_loopback_is_loopback(tmp_path, listen):
    assert write_consortium(tmp_path, listen=listen).config.listen == listen


@pytest.mark.parametrize(
    "address", ["fed.example.org", "fed.example.org:0", "fed.example.org:70000", "https://x:1", ""]
)
def test_an_address_is_host_and_port(tmp_path, address):
    refused(tmp_path, "address", "HOST:PORT", address=address)


@pytest.mark.parametrize("name", ["a b", "-x", "x..y", "*", "ü.example", "x" * 64, "", "a/b", "1.2.3.4:5"])
def test_what_is_no_name_is_not_certified(tmp_path, name):
    refused(tmp_path, "names", names=[name])


def test_a_site_is_named_once(tmp_path):
    refused(tmp_path, "sites", "capitals", sites=["north", "North"])


@pytest.mark.parametrize("name", ["../north", "a/b", "", ".north", "a\nb", "x" * 65, "²", "\U00020000" * 64])
def test_a_sites_name_can_be_a_files(tmp_path, name):
    refused(tmp_path, "sites.0", sites=[name])


def test_ports_differ(tmp_path):
    refused(tmp_path, "different ports", health=9443)
    refused(tmp_path, "different ports", metrics=9447)


@pytest.mark.parametrize("name", ["..", "a/b", ""])
def test_a_run_stays_within_its_folder(tmp_path, name):
    with pytest.raises(ConfigError, match="no name of a run"):
        write_consortium(tmp_path).run(name)


def test_a_wrong_key_is_named_with_the_right_one(tmp_path):
    path = tmp_path / "consortium.yaml"
    path.write_text(yaml.safe_dump(SETTINGS | {"adress": 1}))
    with pytest.raises(ConfigError, match="unknown key 'adress'") as caught:
        load_consortium(path)
    assert "'address'" in caught.value.hint
