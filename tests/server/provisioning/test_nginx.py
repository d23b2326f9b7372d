import re

import pytest
from admissions import write_consortium

from ra_core.errors import ConfigError
from server.provisioning.nginx import nginx_configuration


def test_one_path_is_passed_on_and_all_else_is_forbidden(tmp_path):
    text = nginx_configuration(write_consortium(tmp_path))
    assert re.findall(r"location (\S+)", text) == ["/", "/v1/fleet/"]
    assert re.findall(r"proxy_pass (\S+);", text) == ["https://federated_ra/v1/fleet/"]
    assert re.search(r"location / \{\s+return 403;\s+\}", text)


def test_names_ports_and_paths_are_the_consortiums(tmp_path):
    settings = {
        "address": "fed.example.org:8443",
        "listen": "127.0.0.1:9999",
        "names": ["b.example.org", "2001:db8::1"],
    }
    consortium = write_consortium(tmp_path / "with space; and }", **settings)
    text = nginx_configuration(consortium)
    assert "listen 8443 ssl;" in text
    assert "server 127.0.0.1:9999;" in text
    assert "server_name b.example.org fed.example.org;" in text
    for path in (consortium.server_certificate, consortium.server_key, consortium.ca_certificate):
        assert f' "{path}";' in text


def test_a_server_without_a_name_is_the_default(tmp_path):
    assert "server_name _;" in nginx_configuration(write_consortium(tmp_path, address="127.0.0.1:443"))


@pytest.mark.parametrize("folder", ['a"b', "a$b", "a\\b", "a\nb"])
def test_a_path_that_nginx_would_read_otherwise_is_refused(tmp_path, folder):
    with pytest.raises(ConfigError, match="nginx"):
        nginx_configuration(write_consortium(tmp_path, folder=folder))
