"""The configuration of nginx: the only process that listens to the world, and all that it lets through."""

from __future__ import annotations

from pathlib import Path
from string import Template

from ra_core.address import split_address
from ra_core.errors import ConfigError
from server.consortium import Consortium
from server.provisioning.certificates import server_names

__all__ = ["LOG", "nginx_configuration"]

LOG = Path("/var/log/nginx/federated-ra.log")
"""Where Debian's nginx logs, and Debian's logrotate looks."""


class _Text(Template):
    """`$` is nginx's own."""

    delimiter = "@"


_CONFIGURATION = _Text("""\
# nginx for the consortium's server, written by `ra-server provision`; changes here are lost.
# Include it within `http { }`. Sites talk to /v1/fleet/ and to nothing else: whoever reaches the other paths of the
# SuperLink runs code at every site, so they are answered 403 and never passed on.

map $status $federated_ra_told {  # a site asks every few seconds; what went well is not told
    ~^2      0;
    default  1;
}
log_format federated_ra '$time_iso8601 $remote_addr $request_method $uri $status $body_bytes_sent $request_time';

upstream federated_ra {
    server @listen;
    keepalive 16;
}

server {
    listen @port ssl;
    # listen [::]:@port ssl;  # where this machine has IPv6
    server_name @names;
    server_tokens off;
    access_log @log federated_ra if=$federated_ra_told;  # neither headers nor bodies: they hold signatures and models

    ssl_certificate @certificate;
    ssl_certificate_key @key;
    ssl_protocols TLSv1.2 TLSv1.3;

    client_max_body_size 16m;  # models come in pieces of 5 MB
    client_body_buffer_size 1m;
    client_header_timeout 30s;
    client_body_timeout 120s;
    send_timeout 120s;

    location / {
        return 403;
    }

    location /v1/fleet/ {
        limit_except POST {
            deny all;
        }
        proxy_pass https://federated_ra/v1/fleet/;  # with its path: what is passed on is what was compared
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Connection "";
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate @authority;
        proxy_ssl_name localhost;
        proxy_ssl_server_name on;
        proxy_ssl_protocols TLSv1.2 TLSv1.3;
        proxy_connect_timeout 10s;
        proxy_read_timeout 300s;
        proxy_send_timeout 300s;
    }
}
""")


def nginx_configuration(consortium: Consortium, log: Path = LOG) -> str:
    """What goes within nginx's `http { }`.

    Args:
        consortium: with certificates where its paths say.
        log: for requests that did not go well.

    Raises:
        ConfigError: a path can't stand in a configuration of nginx.
    """
    local = {split_address(consortium.config.listen)[0], "localhost", "127.0.0.1"}
    public = [name for name in server_names(consortium.config) if name not in local and ":" not in name]
    return _CONFIGURATION.substitute(
        listen=consortium.config.listen,
        port=split_address(consortium.config.address)[1],
        names=" ".join(public) or "_",
        log=_quoted(log),
        certificate=_quoted(consortium.server_certificate),
        key=_quoted(consortium.server_key),
        authority=_quoted(consortium.ca_certificate),
    )


def _quoted(path: Path) -> str:
    """In nginx's quotes a backslash escapes, a dollar starts a variable, and nothing ends a variable's meaning."""
    text = str(path)
    if set(text) & set('"\\$') or not text.isprintable():
        raise ConfigError(f"{path}: nginx can't have quotes, backslashes or dollars in a path", "give another `folder`")
    return f'"{text}"'
