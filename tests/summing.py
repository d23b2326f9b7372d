"""Hospitals that train under secure aggregation: each has a signing key and knows the others by theirs."""

from pathlib import Path

import yaml
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.app import Error, Message
from hospitals import tiny_federation, write_hospitals

import client.app as client_app
from client.ledger.book import Ledger
from client.ledger.line import EMPTY
from client.member.keys import make_signing_key
from ra_core.keys import fingerprint

FEW_TENSORS = {"name": "vae", "channels": [4, 4], "latent": 4}
NAMES = ("anna", "berta", "clara", "dora")


def secure(threshold=3, agreed=None, **federation):
    """A study with secure aggregation."""
    return plain(secure_aggregation={"threshold": threshold} | (agreed or {}), **federation)


def plain(**federation):
    """The same without, of a model with few tensors: masks know nothing of what they cover."""
    return tiny_federation(FEW_TENSORS, **{"max_update_norm": None} | federation)


def change(hospital, **settings):
    """Set keys of a hospital's config."""
    config = hospital.site_config
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | settings))


def pins_of(folder, names=NAMES):
    """Make what signing keys are missing; fingerprints by site."""
    found = {}
    for name in names:
        key = folder / f"{name}.signing"
        if not key.exists():
            make_signing_key(key)
        found[name] = fingerprint(load_ssh_public_key(key.with_name(f"{key.name}.pub").read_bytes()))
    return found


def begin_ledger(hospital):
    """As `ra-client ledger begin`."""
    with Ledger.of(hospital.state, hospital.site).opened() as book:
        book.begin(EMPTY, "p" * 64)


def write_keyring(hospital, folder, pins):
    change(hospital, secure_aggregation={"signing_key": str(folder / f"{hospital.site}.signing"), "sites": pins})


def secure_hospitals(site_root, folder, names=NAMES, policies=None):
    """As `write_hospitals`, each with its keys."""
    hospitals = write_hospitals(site_root, folder, names, policies)
    pins = pins_of(folder, names)
    for hospital in hospitals:
        write_keyring(hospital, folder, pins)
        begin_ledger(hospital)
    return hospitals


def between(meddle):
    """The sites' app with somebody in between: `meddle(site, stage, message, answer)` gives what is answered.

    A stage is announce, deal, mask, confirm or reveal; other messages go through.
    """

    def app(message, context):
        site = Path(context.node_config["site-config"]).stem
        kind = message.metadata.message_type
        stage = {"train.masked": "mask", "train": "train"}.get(kind)
        if kind == "query.stage":
            stage = message.content["order"]["stage"]

        def answer():
            return client_app.app(message, context)

        return meddle(site, stage, message, answer) if stage else answer()

    return app


def silent(**stages):
    """Sites that give no usable answer at a stage: `dora="deal"`."""

    def meddle(site, stage, message, answer):
        gone = stages.get(site) == stage
        return Message(Error(code=2, reason="its connection was lost"), reply_to=message) if gone else answer()

    return between(meddle)
