"""The consortium's certificate authority and the server's certificate: X.509 on the curve P-256."""

from __future__ import annotations

import datetime as dt
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ra_core.address import split_address
from ra_core.errors import ConfigError
from server.consortium import Consortium, ConsortiumConfig

__all__ = [
    "authority",
    "certified_names",
    "expiring",
    "expiry",
    "key_text",
    "new_key",
    "private_key",
    "server_certificate",
    "server_names",
    "text",
]

CA_DAYS = 3650
"""The authority outlives any study: what a site holds never has to change."""

BACK = dt.timedelta(hours=1)
"""Certificates are valid from so long before they were made: clocks of sites differ."""

_DAY = dt.timedelta(days=1)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A private key for a certificate."""
    return ec.generate_private_key(ec.SECP256R1())


def key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, without a passphrase: daemons start unattended."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def private_key(content: bytes) -> ec.EllipticCurvePrivateKey:
    """Read what `key_text` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:  # it has a passphrase
        raise ValueError("the key has a passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a key of an elliptic curve")
    return key


def text(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def authority(name: str, key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> x509.Certificate:
    """The certificate that every site holds; it signs those of servers, and published models.

    Args:
        name: of the consortium.
        key: its own.
        now: from when it is valid.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name[:61]} CA")])
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    builder = _builder(subject, subject, public, now, now + CA_DAYS * _DAY)
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def server_certificate(
    config: ConsortiumConfig,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
) -> x509.Certificate:
    """The certificate of nginx and the SuperLink, for `server_names`; it ends with its authority at the latest.

    Args:
        config: of the consortium.
        key: the server's own.
        issuer: the authority.
        issuer_key: the authority's key.
        now: from when it is valid.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{config.name[:57]} server")])
    public = key.public_key()
    until = min(now + config.certificate_days * _DAY, issuer.not_valid_after_utc)
    names = x509.SubjectAlternativeName([_general_name(name) for name in server_names(config)])
    issuer_identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = _builder(subject, issuer.subject, public, now, until)
    return (
        builder.add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )


def server_names(config: ConsortiumConfig) -> tuple[str, ...]:
    """Every name under which sites, nginx and the operator's own commands reach the server, sorted."""
    hosts = (split_address(config.address)[0], split_address(config.listen)[0], "localhost", "127.0.0.1")
    return tuple(sorted({str(_general_name(name.lower()).value) for name in (*hosts, *config.names)}))


def certified_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names in a certificate, sorted."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns, addresses = names.get_values_for_type(x509.DNSName), names.get_values_for_type(x509.IPAddress)
    return tuple(sorted([*dns, *(str(address) for address in addresses)]))


def expiry(consortium: Consortium) -> dict[str, dt.datetime]:
    """When the authority's and the server's certificate end, by their files' names.

    Raises:
        ConfigError: one is missing or damaged.
    """
    found = {}
    for path in (consortium.ca_certificate, consortium.server_certificate):
        try:
            found[path.name] = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        except (OSError, ValueError):
            raise ConfigError(f"{path}: missing or no certificate", "`ra-server provision` makes it") from None
    return found


def expiring(consortium: Consortium, now: dt.datetime, days: int = 30) -> list[str]:
    """One line for each certificate that ends within some days, with what to do.

    Raises:
        ConfigError: one is missing or damaged.
    """
    hints = {
        consortium.ca_certificate.name: "every site needs a new kit before: found the consortium anew",
        consortium.server_certificate.name: f"`ra-server provision {consortium.file.name} --renew`, then reload nginx "
        "and start the server anew",
    }
    return [
        f"{name} {'has expired' if end <= now else 'expires'} on {end:%Y-%m-%d}: {hints[name]}"
        for name, end in expiry(consortium).items()
        if end - now <= days * _DAY
    ]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, until: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACK)
        .not_valid_after(until)
    )


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,  # of published models, or of the handshake
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
