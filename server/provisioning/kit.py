"""What a new site is handed: whom to trust, a site config to fill in, and what to do with them."""

from __future__ import annotations

from ra_core.config import SiteConfig
from ra_core.files import write_atomically
from ra_core.settings import commented_yaml, load_config
from server.consortium import Consortium

__all__ = ["kit_doubts", "write_kit"]

_NOTE = """\
# One hospital's settings. Set name, anatomy, modality and data; leave `data.site` and `server` as they are.
# `ra-client init FOLDER --out draft.yaml` looks at your images and writes the `data` part for you to copy.
"""

_README = """\
# {consortium}: kit of {site}

Nothing in this folder is secret. Install federated-ra in the version that the consortium runs, put this folder on the
machine that has the images, and set your data in `site.yaml`; no image leaves the hospital. Then, in this folder:

1. `ra-client keygen site.yaml` makes this site's two keys and prints their fingerprints. Send **only** the file
   `site.key.pub` to the consortium, and tell its fingerprint on another way, for example by phone.
   `site.key` and `site.signing.key` never leave this machine. For secure aggregation the other sites need the
   fingerprint of `site.signing.key`, from you and not through the server, and you need theirs
   (`secure_aggregation.sites` in `site.yaml`). Before they are listed or `policy.dp_epsilon` is set, or if a run ever
   used these images from another disk, folder or config: `ra-client ledger begin --help`.
2. `ra-client check site.yaml` reads every image and says whether the site can join, and what to mend before.
3. `ra-client start site.yaml` joins. It opens one outgoing connection, to {address}; nothing comes in.

The consortium proves itself with `ca.crt`. Compare its SHA-256 on another way too: `sha256sum ca.crt`.
"""


def write_kit(consortium: Consortium, site: str, app: str) -> bool:
    """Write what the kit of a site lacks; whether there was anything.

    Args:
        consortium: with its authority made.
        site: its name.
        app: hash of the bundle that the site is asked to allow.

    Raises:
        OSError: the folder can't be written.
    """
    folder = consortium.kits / site
    missing = [name for name in ("ca.crt", "README.md", "site.yaml") if not (folder / name).exists()]
    for name in missing:
        write_atomically(folder / name, _content(consortium, site, app, name))
    return bool(missing)


def kit_doubts(consortium: Consortium, site: str, app: str) -> list[str]:
    """What has changed since a kit was written, so that the site has to be told.

    Args:
        consortium: of the operator.
        site: its name.
        app: hash of the bundle that runs now.

    Raises:
        ConfigError: the site config in the kit is damaged.
    """
    server = load_config(consortium.kits / site / "site.yaml", SiteConfig).server
    doubts = []
    if not server or server.address != consortium.config.address:
        doubts.append(f"{site} was told another address: have it set server.address to {consortium.config.address}")
    if not server or app not in server.allowed:
        doubts.append(f"{site} was told another app bundle: have it run `ra-client allow {app}`")
    return doubts


def _content(consortium: Consortium, site: str, app: str, name: str) -> bytes:
    if name == "ca.crt":
        return consortium.ca_certificate.read_bytes()
    config = consortium.config
    if name == "README.md":
        return _README.format(consortium=config.name, site=site, address=config.address).encode()
    return f"{_NOTE}\n{commented_yaml(SiteConfig, _settings(config.address, site, app))}".encode()


def _settings(address: str, site: str, app: str) -> dict[str, object]:
    """A site config with which all commands run, but for the data."""
    server = {"address": address, "ca_certificate": "ca.crt", "private_key": "site.key", "allowed": [app]}
    return {
        "name": site,
        "anatomy": "brain",
        "modality": "MR",
        "data": {"site": site, "root": "images"},
        "state": "state",
        "server": server,
        "secure_aggregation": {"signing_key": "site.signing.key"},
    }
