import datetime as dt
import socket
import ssl
import threading

import pytest
from admissions import NOW, write_consortium
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ra_core.errors import ConfigError
from server.provisioning.certificates import (
    authority,
    certified_names,
    expiring,
    expiry,
    key_text,
    new_key,
    private_key,
    server_certificate,
    server_names,
    text,
)
from server.provisioning.provision import provision

DAY = dt.timedelta(days=1)
NAMES = {"names": ["Alias.example.org", "10.1.2.3", "2001:db8::0001"]}


@pytest.fixture
def consortium(tmp_path):
    return write_consortium(tmp_path, **NAMES)


@pytest.fixture
def pair(consortium):
    """Certificates of authority and server."""
    ca_key = new_key()
    ca = authority("x" * 64, ca_key, NOW)
    return ca, server_certificate(consortium.config, new_key(), ca, ca_key, NOW)


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def test_the_authority_signs_and_nothing_below_it_does(pair):
    ca, server = pair
    server.verify_directly_issued_by(ca)
    ca.verify_directly_issued_by(ca)
    assert extension(ca, x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=0)
    assert not extension(server, x509.BasicConstraints).value.ca
    for certificate in pair:
        assert extension(certificate, x509.BasicConstraints).critical
        usage = extension(certificate, x509.KeyUsage)
        assert usage.critical
        assert usage.value.key_cert_sign == usage.value.crl_sign == (certificate is ca)
        assert isinstance(certificate.public_key().curve, ec.SECP256R1)


def test_every_name_is_certified(consortium, pair):
    found = certified_names(pair[1])
    expected = "alias.example.org fed.example.org localhost 127.0.0.1 10.1.2.3 2001:db8::1"
    assert set(found) == set(expected.split())
    assert found == server_names(consortium.config)


def test_a_server_certificate_ends_with_its_authority(consortium):
    ca_key = new_key()
    ca = authority("x", ca_key, NOW)
    late = ca.not_valid_after_utc - 10 * DAY
    server = server_certificate(consortium.config, new_key(), ca, ca_key, late)
    assert server.not_valid_after_utc == ca.not_valid_after_utc


def test_a_key_is_read_back_and_another_kind_is_not():
    key = new_key()
    assert private_key(key_text(key)).public_key() == key.public_key()
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    for content in (b"", b"garbage", locked, text(authority("x", key, NOW))):
        with pytest.raises(ValueError):  # noqa: PT011 - of several wordings, all of them for people
            private_key(content)


@pytest.mark.parametrize(("days", "expected"), [(40, 0), (30.5, 0), (29.5, 1), (0.5, 1), (-1, 1)])
def test_expiry_is_told_thirty_days_ahead(consortium, days, expected):
    provision(consortium, False, NOW)
    end = NOW + consortium.config.certificate_days * DAY
    assert expiry(consortium)["server.crt"] == end
    lines = expiring(consortium, end - days * DAY)
    assert len(lines) == expected
    for line in lines:
        assert ("has expired" in line) == (days < 0)
        assert f"{end:%Y-%m-%d}" in line
        assert "--renew" in line


def test_the_authoritys_end_is_told_too(consortium):
    provision(consortium, False, NOW)
    ca = expiry(consortium)["ca.crt"]
    assert [line.split()[0] for line in expiring(consortium, ca - DAY)] == ["ca.crt", "server.crt"]


@pytest.mark.parametrize("name", ["ca.crt", "server.crt"])
def test_a_damaged_certificate_is_named(consortium, name):
    provision(consortium, False, NOW)
    (consortium.tls / name).write_text("garbage")
    with pytest.raises(ConfigError, match=name):
        expiring(consortium, NOW)


def shake_hands(consortium, name, trusted):
    """Whether a strict client takes the server's certificate under a name."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(consortium.server_certificate, consortium.server_key)
    client = ssl.create_default_context(cafile=trusted)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    here, there = socket.socketpair()
    here.settimeout(10)
    there.settimeout(10)
    thread = threading.Thread(target=serve, args=(server, there))
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=name) as secured:
            return secured.recv(1) == b"x"
    except ssl.SSLCertVerificationError:
        return False
    finally:
        here.close()
        thread.join()


def serve(context, connection):
    try:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.send(b"x")
    except (ssl.SSLError, OSError):
        connection.close()


def test_a_strict_client_trusts_the_server_under_its_names_only(tmp_path):
    ours, other = write_consortium(tmp_path / "a", **NAMES), write_consortium(tmp_path / "b", **NAMES)
    for consortium in (ours, other):
        provision(consortium, False, dt.datetime.now(dt.UTC))
    for name in server_names(ours.config):
        assert shake_hands(ours, name, ours.ca_certificate)
    assert not shake_hands(ours, "elsewhere.example.org", ours.ca_certificate)
    assert not shake_hands(ours, "fed.example.org", other.ca_certificate)


def test_an_expired_server_is_not_trusted(tmp_path):
    consortium = write_consortium(tmp_path)
    provision(consortium, False, dt.datetime.now(dt.UTC) - 400 * DAY)
    assert not shake_hands(consortium, "fed.example.org", consortium.ca_certificate)
    provision(consortium, True, dt.datetime.now(dt.UTC))
    assert shake_hands(consortium, "fed.example.org", consortium.ca_certificate)
