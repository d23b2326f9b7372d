"""Secure aggregation over real processes: a site is killed at a stage of a masked round, and the sum is opened."""

import json

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from faulty import TRAINING, Faulty
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
            federation.client("ledger", "begin", f"{name}.yaml")
        yield federation


@pytest.fixture(scope="module")
def plain(site_root, tmp_path_factory):
    """Hashes of the model without masks, in one process: of all sites, and of all but dora."""

    def run(name, app):
        hospitals = secure_hospitals(site_root, tmp_path_factory.mktemp(name))
        return model_digest(train_hospitals(hospitals, tiny_federation(**ONCE, max_update_norm=None), app=app).model)

    return {True: run("all", silent()), False: run("others", silent(dora="train"))}


PLACES = {
    "announce": "client.seat:Seat._announce",
    "deal": "ra_core.masking.member:Member.deal",
    "mask": TRAINING,
    "confirm": "ra_core.masking.member:Member.confirm",
    "reveal": "ra_core.masking.member:Member.reveal",
}
"""What a site does at each stage."""


@pytest.mark.parametrize("stage", PLACES)
def test_a_site_that_is_killed_at_any_stage_is_in_the_sum_or_left_out_of_it(federation, plain, stage):
    counts = stage in ("confirm", "reveal")
    study = federation.study("masked", **ONCE | WAITS, secure_aggregation=AGREED)
    with federation.held("dora", PLACES[stage]) as dora_is_there:
        process = federation.command("run", study)
        dora_is_there()
        federation.kill_site("dora")
    federation.finish(process, DegradedError.exit_code)
    (first, _), digest = (result := federation.result("masked"))["rounds"], result["last_model_hash"]
    assert first["answered"] == ["anna", "berta", "clara", *(["dora"] if counts else [])]
    assert counts or first["missing"]["dora"].startswith(f"{stage}: ")
    assert first["metrics"] == {}
    assert digest == plain[counts]

    ledger = federation.state("anna") / "anna" / "ledger" / "ledger.jsonl"
    revealed = [json.loads(line) for line in ledger.read_bytes().splitlines() if b'"kind":"reveal"' in line]
    said = revealed[0]["what"]["facts"]["said"]
    assert said["keys"] == (["dora"] if stage == "mask" else [])
    assert ("dora" in said["seeds"]) is counts
    assert not list(federation.state("anna").rglob("masking.json"))
