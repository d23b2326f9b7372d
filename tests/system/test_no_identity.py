"""A federation in which everything goes wrong at hospitals whose files are full of names: none of them gets out.

In plain rounds: a refusal, an error in training, damaged files and a killed site. Masks, differential privacy,
histograms of scores and refused bundles are in `tests/client/test_nobody_is_named.py`, in one process. What else goes
wrong in tests of this folder is searched for names too, at each federation's end (`federation.py`).
"""

import shutil
import sqlite3
import urllib.request

import pytest
import yaml
from faulty import TRAINING, Faulty
from planted import FILE, FOLDER, RAISED, SECRETS, TAGS, TEXT, found, named, write_images

from ra_core.errors import DegradedError

NAMES = ("anna", "berta", "carla")
QUORUM = {"quorum": 0.3}


class Planted(Faulty):
    """Hospitals with identities in headers, texts and names; `ra-client init` describes their folders."""

    def provision(self):
        drawn = self.folder / "sites" / "drawn.yaml"
        write_images(self.images("all"))
        self.client("init", self.images("all") / FOLDER, "--out", drawn)
        self.drawn = yaml.safe_load(drawn.read_text(encoding="utf-8"))
        self.drawn["data"]["folder"]["patient"] = "file"
        super().provision()

    def join_config(self, name):
        super().join_config(name)
        shutil.copytree(self.images("all"), self.images(name))
        data = self.drawn["data"] | {"site": name, "root": str(self.images(name) / FOLDER)}
        self.change_site(name, data=data, limits=self.drawn["limits"] | {"max_lost": 0.2})

    def images(self, name):
        return self.folder / "sites" / f"{name}_images"

    def damage(self, name):
        """Cut more files than the site puts up with."""
        for path in sorted((self.images(name) / FOLDER / "healthy").glob("*.dcm"))[:20]:
            path.write_bytes(path.read_bytes()[:-999])


@pytest.fixture(scope="module")
def federation(site_root, tmp_path_factory):
    with Planted(tmp_path_factory.mktemp("planted"), site_root, NAMES) as federation:
        yield federation.up()


@pytest.fixture(scope="module")
def said(federation):
    """What the operator's commands printed, of two runs in which each site but one fails in ways of its own."""
    federation.change_site("berta", policy={"min_patients": 1000})
    raising = federation.fault("carla", TRAINING, "raise", text=RAISED)
    told = [federation.server("run", federation.study("first", **QUORUM), code=DegradedError.exit_code)]
    raising.unlink()
    federation.change_site("berta", policy={})
    federation.damage("berta")
    with federation.held("carla") as carla_trains:
        process = federation.command("run", federation.study("second", **QUORUM))
        carla_trains()
        federation.kill_site("carla")
    told.append(federation.finish(process, DegradedError.exit_code))
    told.append(federation.server("publish", "first", "--out", "first.safetensors"))
    told += [federation.server(*words) for words in (("status", "--json"), ("runs", "--json"), ("status",))]
    port = federation.consortium.config.metrics
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        told.append(answer.read().decode())
    return told


def outside(federation, said):
    """All that is outside the sites, by name."""
    return [("printed", "\n".join(said).encode()), *federation.outside()]


def refused(federation, run, site):
    """Why a site was kept out, each time."""
    return [event["reason"] for event in federation.events(run, "refused") if event.get("site") == site]


def test_the_faults_have_happened(federation, said):
    first, second = federation.result("first"), federation.result("second")
    assert "its policy refuses: policy.min_patients: the site has fewer" in refused(federation, "first", "berta")
    assert [r["missing"].get("carla") for r in first["rounds"][:2]] == ["reports OSError"] * 2
    assert "reports DataError" in refused(federation, "second", "berta")
    assert "connection was lost" in second["rounds"][0]["missing"]["carla"]
    assert all(record["answered"][:1] == ["anna"] for record in first["rounds"] + second["rounds"])


def test_no_identity_is_on_the_servers_side(federation, said):
    assert named(outside(federation, said)) == {}


def test_all_that_is_there_was_looked_at(federation, said):
    names = [name for name, _ in outside(federation, said)]
    for wanted in (
        *("superlink.log", "superexec.log", "state.db", "daemon.jsonl", "first.safetensors", "sites/anna.json"),
        *(f"runs/{run}/{file}" for run in ("first", "second") for file in ("run.json", "events.jsonl", "flower.json")),
        *("checkpoint.safetensors", "checkpoint.previous.safetensors", "card.json", "model.safetensors"),
    ):
        assert any(name.endswith(wanted) for name in names), wanted


def test_the_sites_themselves_do_know(federation, said):
    """So the names were read and the faults named them, and the search can fail."""
    assert {"Zwetschge", FILE, TEXT} <= found(
        (federation.state("carla") / "flower/supernode.log").read_bytes(), SECRETS
    )
    image = federation.images("anna") / FOLDER / "healthy" / f"{FILE}-3.dcm"
    assert "Zwetschge" in found(image.read_bytes(), SECRETS)
    assert FOLDER in found(federation.config("anna").read_bytes(), SECRETS)


@pytest.mark.parametrize("place", ["state.db", "run.json", "checkpoint.safetensors"])
def test_a_name_that_had_got_there_would_have_been_found(federation, said, tmp_path, place):
    """Planted in a copy, in each kind of file that the server has."""
    original = next(path for path in federation.server_folder.rglob(place))
    copy = tmp_path / place
    shutil.copy(original, copy)
    if place == "state.db":
        with sqlite3.connect(copy) as database:
            database.execute("CREATE TABLE planted (content BLOB)")
            database.execute("INSERT INTO planted VALUES (?)", (TAGS["PatientName"].encode(),))
        database.close()
    else:
        content = copy.read_bytes()
        copy.write_bytes(content[: len(content) // 2] + TAGS["PatientName"].encode() + content[len(content) // 2 :])
    assert found(original.read_bytes(), SECRETS) == set()
    assert found(copy.read_bytes(), SECRETS) == {"Zwetschge", "Roswitha"}


def test_the_sites_events_and_ledgers_name_nobody_either(federation, said):
    for name in NAMES:
        for path in (federation.state(name) / "daemon.jsonl", *federation.state(name).rglob("ledger.jsonl")):
            assert found(path.read_bytes(), SECRETS) == set(), path.name
