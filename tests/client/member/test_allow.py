"""Which bundles may run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stations import write_station
from typer.testing import CliRunner

from client.cli import app
from client.member.allow import allow, allowed, withdraw
from ra_core.config import DIGEST
from ra_core.errors import BundleError, ConfigError

A, B = "a" * 64, "b" * 64


@pytest.fixture
def station(tmp_path):
    return write_station(tmp_path, allowed=[A])


def test_the_config_allows_and_others_are_added_and_taken_back(station):
    assert allowed(station) == {A: "config"}
    allow(station, B)
    allow(station, B)
    allow(station, A)
    assert allowed(station) == {A: "config", B: "state"}
    assert station.allowed.read_text() == f"{B}\n"
    withdraw(station, B)
    assert allowed(station) == {A: "config"}


def test_nothing_but_what_was_allowed_is_taken_back(station):
    with pytest.raises(BundleError, match="was not allowed") as raised:
        withdraw(station, A)
    assert "server.allowed" in raised.value.hint
    with pytest.raises(BundleError, match="was not allowed"):
        withdraw(station, B)


@given(st.text())
def test_only_hashes_are_allowed(text):
    if DIGEST.fullmatch(text):
        return
    with pytest.raises(ConfigError, match="no SHA-256"):
        allow(None, text)


@pytest.mark.parametrize("content", ["*", "A" * 64, "a" * 63, f"{B}{B}", "\udcff"])
def test_a_damaged_list_allows_nothing(station, content):
    station.state.mkdir()
    station.allowed.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(BundleError, match="something else"):
        allowed(station)
    with pytest.raises(BundleError, match="something else"):
        allow(station, B)


def test_the_commands(station):
    def run(*arguments):
        return CliRunner().invoke(app, [*arguments, str(station.file)])

    assert run("allowed").output == f"{A} config\n"
    assert run("allow", B).output == f"{B} state\n{A} config\n"
    assert run("allow", "--withdraw", B).output == f"{A} config\n"
    assert isinstance(run("allow", "x").exception, ConfigError)
