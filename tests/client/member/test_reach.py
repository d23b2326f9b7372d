"""The way to a server: each thing that may be wrong is told apart."""

import datetime as dt
import socket

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from stations import ADMITTED, NOW, UNKNOWN, Server, make_authority, write_station

from client.member.reach import admitted, clock_offset, look_up, open_port, private_key, ready, trust
from ra_core.errors import AdmissionError, ConfigError, ConnectError
from ra_core.keys import fingerprint


@pytest.fixture(scope="module")
def issuer():
    return make_authority()


@pytest.fixture
def serve(tmp_path, issuer, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def started(**how):
        return Server(tmp_path, how.pop("issuer", issuer), **how).running()

    return started


def test_an_admitted_key_gets_through_and_is_not_let_in_by_asking(tmp_path, issuer, serve):
    with serve() as server:
        ready(write_station(tmp_path, issuer, server.port))
    ((path, content),) = server.asked
    assert path == "/v1/fleet/activate-node"
    assert ActivateNodeRequest.FromString(content).heartbeat_interval == 0  # Flower refuses it once it knows the key


def test_an_unknown_key_is_named_by_its_fingerprint(tmp_path, issuer, serve):
    with serve(answer=UNKNOWN) as server:
        station = write_station(tmp_path, issuer, server.port)
        with pytest.raises(AdmissionError, match="not admitted, or was revoked") as raised:
            ready(station)
    assert fingerprint(private_key(station).public_key()) in raised.value.message
    assert "ra-server admit" in raised.value.hint


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((401, {"detail": "Invalid SuperNode authentication"}), AdmissionError, "signature"),
        ((502, {}), ConnectError, "behind it"),
        ((404, {"detail": "Not Found"}), ConnectError, "no federation's server"),
        ((200, {}), ConnectError, "broke off"),
        ((302, {}), ConnectError, "no federation's server"),
    ],
)
def test_other_answers_are_told_apart(tmp_path, issuer, serve, answer, kind, words):
    with serve(answer=answer) as server, pytest.raises(kind, match=words):
        admitted(write_station(tmp_path, issuer, server.port))


def test_a_foreign_ca_is_not_trusted(tmp_path, serve):
    with serve() as server, pytest.raises(ConnectError, match="not issued by this consortium"):
        clock_offset(write_station(tmp_path, make_authority(), server.port))
    with serve() as server, pytest.raises(ConnectError, match="not issued by this consortium"):
        admitted(write_station(tmp_path, make_authority("Other"), server.port))
    assert server.asked == []


@pytest.mark.parametrize(
    ("issued", "words"), [(NOW - dt.timedelta(days=399), "has expired"), (NOW + dt.timedelta(days=9), "not valid yet")]
)
def test_a_certificate_out_of_its_time(tmp_path, issuer, serve, issued, words):
    with serve(issued=issued) as server, pytest.raises(ConnectError, match=words):
        clock_offset(write_station(tmp_path, issuer, server.port))


def test_a_certificate_for_another_name(tmp_path, issuer, serve):
    with serve(host="127.0.0.2") as server, pytest.raises(ConnectError, match=r"not for 127\.0\.0\.2"):
        clock_offset(write_station(tmp_path, issuer, address=f"127.0.0.2:{server.port}"))


@pytest.fixture
def deaf():
    """Listens, and says something that is no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_no_tls(tmp_path, issuer, deaf):
    import threading

    def talk():
        connection, _ = deaf.accept()
        connection.sendall(b"220 mail.example.org ESMTP\r\n")
        connection.recv(4096)
        connection.close()

    thread = threading.Thread(target=talk)
    thread.start()
    with pytest.raises(ConnectError, match="speaks no TLS"):
        clock_offset(write_station(tmp_path, issuer, deaf.getsockname()[1]))
    thread.join()


def test_nobody_there(tmp_path, monkeypatch, deaf):
    port = deaf.getsockname()[1]
    deaf.close()
    with pytest.raises(ConnectError, match="refuses connections"):
        open_port(write_station(tmp_path, port=port))
    monkeypatch.setattr("client.member.reach.SECONDS", 0.2)
    with pytest.raises(ConnectError, match="is not known here"):
        look_up(write_station(tmp_path, address="nobody.invalid:443"))


def test_a_resolver_that_hangs_ends(tmp_path, monkeypatch):
    import time

    monkeypatch.setattr("client.member.reach.SECONDS", 0.05)
    monkeypatch.setattr("client.member.reach.socket.getaddrinfo", lambda *_, **__: time.sleep(0.5) or [])
    with pytest.raises(ConnectError, match="is not known here"):
        look_up(write_station(tmp_path))


def test_a_proxy_is_where_the_way_begins(tmp_path, monkeypatch):
    station = write_station(tmp_path, address="fed.example.org:443")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert look_up(station) == "127.0.0.1"
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1, port 9"):
        open_port(station)


@pytest.mark.parametrize("ahead", [-1000.0, 0.0, 1000.0])
def test_clocks_are_compared(tmp_path, issuer, serve, ahead):
    with serve(ahead=ahead) as server:
        offset = clock_offset(write_station(tmp_path, issuer, server.port))
    assert abs(offset + ahead) < 60


def key_bytes(key, form=serialization.PrivateFormat.OpenSSH):
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"ssh-ed25519 AAAA",
        key_bytes(ed25519.Ed25519PrivateKey.generate()),
        key_bytes(ec.generate_private_key(ec.SECP384R1()), serialization.PrivateFormat.PKCS8),
    ],
)
def test_other_keys_are_refused(tmp_path, content):
    station = write_station(tmp_path)
    station.private_key.write_bytes(content)
    with pytest.raises(ConfigError, match="no OpenSSH EC key without a passphrase"):
        private_key(station)


def test_a_missing_key_and_other_certificates(tmp_path):
    station = write_station(tmp_path)
    station.private_key.unlink()
    with pytest.raises(ConfigError, match="private_key can't be read"):
        private_key(station)
    for content in (b"", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        station.ca_certificate.write_bytes(content)
        with pytest.raises(ConfigError, match="holds no certificate"):
            trust(station)
    station.ca_certificate.unlink()
    with pytest.raises(ConfigError, match="ca_certificate can't be read"):
        trust(station)


def test_answers_are_flowers():
    from flwr.supercore.error import ApiErrorCode

    assert ADMITTED[1]["code"] == ApiErrorCode.FLEET_INVALID_HEARTBEAT_INTERVAL
    assert UNKNOWN[1]["code"] == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED
