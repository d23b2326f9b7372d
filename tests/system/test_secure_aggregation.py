"""Secure aggregation over real processes: a site is killed in the middle of a masked round, and the sum is opened."""

import json

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from faulty import Faulty
from federating import train_hospitals
from hospitals import model_digest, tiny_federation
from summing import NAMES, secure_hospitals, silent

from ra_core.errors import DegradedError
from ra_core.keys import fingerprint

pytestmark = pytest.mark.night

ONCE = {"rounds": 1, "local_steps": 3, "quorum": 0.75}
WAITS = {"deadline_seconds": 240.0, "max_update_norm": None}
AGREED = {"threshold": 3, "stage_seconds": 240.0}


@pytest.fixture
def federation(site_root, tmp_path):
    """Four sites online that know each other's signing keys, as `ra-client keygen` made them."""
    with Faulty(tmp_path / "federation", site_root, NAMES) as federation:
        for name in NAMES:
            federation.change_site(name, secure_aggregation={"signing_key": f"{name}.signing"})
        federation.up()
        keys = {name: federation.folder / "sites" / f"{name}.signing.pub" for name in NAMES}
        pins = {name: fingerprint(load_ssh_public_key(path.read_bytes())) for name, path in keys.items()}
        for name in NAMES:
            federation.change_site(name, secure_aggregation={"signing_key": f"{name}.signing", "sites": pins})
        yield federation


def test_a_site_that_is_killed_while_it_trains_is_left_out_of_the_sum(federation, site_root, tmp_path):
    study = federation.study("masked", **ONCE | WAITS, secure_aggregation=AGREED)
    with federation.held("dora") as dora_has_dealt:
        process = federation.command("run", study)
        dora_has_dealt()
        federation.kill_site("dora")
    federation.finish(process, DegradedError.exit_code)
    result = federation.result("masked")
    assert result["rounds"][0]["answered"] == ["anna", "berta", "clara"]
    assert result["rounds"][0]["missing"]["dora"].startswith("mask: ")
    assert result["rounds"][0]["metrics"] == {}

    hospitals = secure_hospitals(site_root, tmp_path / "plain")
    plain = train_hospitals(hospitals, tiny_federation(**ONCE, max_update_norm=None), app=silent(dora="train"))
    assert result["last_model_hash"] == model_digest(plain.model)

    ledger = federation.state("anna") / "anna" / "ledger" / "ledger.jsonl"
    revealed = [json.loads(line) for line in ledger.read_bytes().splitlines() if b'"kind":"reveal"' in line]
    assert revealed[0]["what"]["facts"]["said"]["keys"] == ["dora"]
    assert not list(federation.state("anna").rglob("masking.json"))
