"""The way to the federation's server, step by step: name, port, certificate, clock, admission. Nothing there changes.

Flower's client of the fleet interface is private API: flwr is pinned, and `tests/system` tries it on a real server.
"""

from __future__ import annotations

import http
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from client.member.station import Station
from ra_core.address import split_address
from ra_core.errors import AdmissionError, ConfigError, ConnectError, RAError
from ra_core.files import SMALL, read_bounded
from ra_core.keys import fingerprint

__all__ = [
    "CLOCK_TOLERANCE",
    "admitted",
    "clock_offset",
    "look_up",
    "open_port",
    "private_key",
    "ready",
    "trust",
    "why_not_reached",
]

SECONDS = 8.0
"""Longest wait for each step."""

CLOCK_TOLERANCE = 300.0
"""Seconds that a site's clock may differ from the server's; signatures of others are refused."""

_NO_HEARTBEAT = 0.0
"""An interval that the server refuses after it has looked for the key: it tells about the key and lets nobody in."""

_EXPIRED, _NOT_YET_VALID, _OTHER_NAMES = 10, 9, (62, 64)
"""OpenSSL's codes of what is wrong with a certificate."""

_BEHIND = (http.HTTPStatus.BAD_GATEWAY, http.HTTPStatus.SERVICE_UNAVAILABLE, http.HTTPStatus.GATEWAY_TIMEOUT)


def private_key(station: Station) -> EllipticCurvePrivateKey:
    """The site's own key.

    Raises:
        ConfigError: the file can't be read, or is no key of the kind that Flower takes.
    """
    try:
        key = load_ssh_private_key(station.private_key.read_bytes(), None)
    except OSError as error:
        raise ConfigError(
            f"server.private_key can't be read ({type(error).__name__})", "`ra-client keygen` makes the key"
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a passphrase
        key = None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ConfigError(
            "server.private_key is no OpenSSH EC key without a passphrase", "make one with `ra-client keygen`"
        )
    return key


def trust(station: Station) -> ssl.SSLContext:
    """Trust in the consortium's CA, and in no other.

    Raises:
        ConfigError: the file can't be read or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=read_bounded(station.ca_certificate, SMALL).decode("ascii"))
    except OSError as error:  # an ssl.SSLError is one too
        kind = "holds no certificate" if isinstance(error, ssl.SSLError) else f"can't be read ({type(error).__name__})"
        raise ConfigError(f"server.ca_certificate {kind}", "name the ca.crt of your kit") from None
    except ValueError:
        raise ConfigError("server.ca_certificate holds no certificate", "name the ca.crt of your kit") from None
    return context


def look_up(station: Station) -> str:
    """The address that the server's name stands for; of the house's proxy, where one is set.

    Raises:
        ConnectError: nobody knows the name.
    """
    host, port = _next_hop(station)
    found: list[str] = []

    def ask() -> None:
        try:
            found.extend(str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError:
            return

    asking = threading.Thread(target=ask, daemon=True)  # a resolver has no time limit of its own
    asking.start()
    asking.join(SECONDS)
    if not found:
        raise ConnectError(f"the name {host} is not known here", "check server.address, and this machine's DNS")
    return found[0]


def open_port(station: Station) -> None:
    """Open a connection to the server, or to the house's proxy, and close it.

    Raises:
        ConnectError: nobody answers.
    """
    host, port = _next_hop(station)
    try:
        socket.create_connection((host, port), timeout=SECONDS).close()
    except OSError as error:
        why = "refuses connections" if isinstance(error, ConnectionRefusedError) else "does not answer"
        raise ConnectError(
            f"{host}, port {port}, {why}",
            "check server.address; ask your network people to allow outgoing connections to it; "
            "ask the operator whether the server runs",
        ) from None


def clock_offset(station: Station) -> float:
    """Seconds that this machine's clock is ahead of the server's. The server has shown its certificate before.

    Raises:
        ConfigError: the CA's file is no good.
        ConnectError: the server can't be reached, or its certificate isn't trusted.
    """
    try:
        with httpx.Client(verify=trust(station), timeout=SECONDS) as client:
            asked = datetime.now(UTC)
            response = client.get(f"https://{station.server.address}/v1/fleet/")
            told = datetime.now(UTC)
    except httpx.HTTPError as error:
        raise why_not_reached(station, error) from None
    try:
        there = parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError):
        raise ConnectError("the server doesn't tell its time", "ask the operator what answers there") from None
    return (asked + (told - asked) / 2 - there).total_seconds() - 0.5  # a header has whole seconds


def admitted(station: Station) -> None:
    """Make sure that the server would let this site's key in.

    Raises:
        AdmissionError: it doesn't.
        ConfigError: the key or the CA's file is no good.
        ConnectError: the server can't be reached, or is no federation's.
    """
    key = private_key(station)
    request = ActivateNodeRequest(public_key=public_key_to_bytes(key.public_key()), heartbeat_interval=_NO_HEARTBEAT)
    sign = NodeAuthHttpInterceptor(key, key.public_key())
    try:
        address, verify = f"https://{station.server.address}", trust(station)
        with FleetHttpClient(address, interceptors=[sign], verify=verify, timeout=SECONDS) as client:
            client.ActivateNode(request)
    except httpx.HTTPStatusError as error:
        refused = _refusal(station, key, error.response)
        if refused:
            raise refused from None
    except (httpx.HTTPError, ValueError) as error:
        raise why_not_reached(station, error) from None


def ready(station: Station) -> None:
    """Everything that has to be well before a SuperNode is started, in order.

    Raises:
        AdmissionError, ConfigError, ConnectError: something isn't; says what, and what to do.
    """
    private_key(station)
    trust(station)
    look_up(station)
    open_port(station)
    admitted(station)


def why_not_reached(station: Station, error: Exception) -> ConnectError:
    """An error of a connection, in words."""
    host = split_address(station.server.address)[0]
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(host, cause.verify_code)
        if isinstance(cause, ssl.SSLError):
            return ConnectError(f"{host} speaks no TLS at this port", "check the port in server.address")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return ConnectError(f"{host} does not answer", "ask the operator whether the server runs")
    return ConnectError(f"the connection to {host} broke off ({type(error).__name__})", "")


def _untrusted(host: str, code: int) -> ConnectError:
    if code == _EXPIRED:
        return ConnectError("the server's certificate has expired", "tell the operator, who has to renew it")
    if code == _NOT_YET_VALID:
        return ConnectError("the server's certificate is not valid yet", "check the clock of this machine")
    if code in _OTHER_NAMES:
        return ConnectError(
            f"the server's certificate is not for {host}", "write server.address as it stands in your kit"
        )
    return ConnectError(
        "the server's certificate was not issued by this consortium",
        "name the ca.crt of your kit in server.ca_certificate; if it is that one, somebody else answers: "
        "tell the operator",
    )


def _refusal(station: Station, key: EllipticCurvePrivateKey, response: httpx.Response) -> RAError | None:
    """Why the server doesn't let the key in; None where it would."""
    told = FlowerError.from_json(response.text)
    if told and told.code == ApiErrorCode.FLEET_INVALID_HEARTBEAT_INTERVAL:
        return None
    if told and told.code == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED:
        return AdmissionError(
            f"the key of site '{station.site}' is not admitted, or was revoked: {fingerprint(key.public_key())}",
            "send the public key to the operator, who admits it with `ra-server admit`",
        )
    if response.status_code == http.HTTPStatus.UNAUTHORIZED:
        return AdmissionError(
            "the server refuses this site's signature",
            "set this machine's clock: it may differ by five minutes; `ra-client doctor` shows by how much it does",
        )
    if response.status_code in _BEHIND:
        return ConnectError(
            f"the server's front answers, but not the federation behind it (HTTP {response.status_code})",
            "ask the operator whether `ra-server start` runs",
        )
    return ConnectError(
        f"what answers is no federation's server (HTTP {response.status_code})", "check the port in server.address"
    )


def _next_hop(station: Station) -> tuple[str, int]:
    """Host and port that a connection goes to first: the proxy that the environment names, or the server."""
    host, port = split_address(station.server.address)
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(host):
        return host, port
    url = httpx.URL(proxy if "://" in proxy else f"http://{proxy}")
    return url.host, url.port or (443 if url.scheme == "https" else 80)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
