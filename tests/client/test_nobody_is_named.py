"""Hospitals whose files are full of names, in masked and private rounds in which things go wrong: none gets out.

With histograms of scores and refused app bundles. `tests/system/test_no_identity.py` does the same over real processes,
and so does every other federation of `tests/system` at its end: with killed servers and sites, cut lines, bad answers,
resumed, stopped and masked runs, and models published and withdrawn. Not looked at: what `ra-client score`, `calibrate`
and `drift` write, which stays at the site.
"""

import hashlib
import json
from contextlib import nullcontext

import pytest
import yaml
from flwr.supercore.fab import Fab
from planted import FOLDER, RAISED, SECRETS, found, write_images
from stations import write_station
from summing import pins_of, secure
from typer.testing import CliRunner

import client.app as client_app
from client import rounds
from client.cli import app as commands
from client.ledger import book
from client.member import supernode
from client.member.station import open_station
from client.seat import Seat
from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.daemons.events import Events
from ra_core.errors import MaskingError, QuorumError
from simulation.engines import Node, in_process, run_in_process

pytestmark = pytest.mark.slow

NAMES = ("anna", "berta", "clara")
PRIVATE = {
    "dp": {"noise_multiplier": 1.0, "sampling_rate": 0.3},
    "method": {"name": "vae", "channels": [4, 8], "latent": 4},
}


SCORED = {
    "calibration": {},
    "evaluation": {"image_fpr": 0.6},
    "federation": {"rounds": 1, "local_steps": 3, "deadline_seconds": 20.0, "join_seconds": 5.0},
}
"""Without masks, which histograms of single sites exclude."""


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    """As `ra-client init` describes them, all with the same images."""
    folder = tmp_path_factory.mktemp("named")
    write_images(folder / "images")
    drawn = folder / "drawn.yaml"
    assert CliRunner().invoke(commands, ["init", str(folder / "images" / FOLDER), "--out", str(drawn)]).exit_code == 0
    found, pins = yaml.safe_load(drawn.read_text(encoding="utf-8")), pins_of(folder, NAMES)
    found["data"]["folder"]["patient"] = "file"
    found["limits"]["max_lost"] = 0.2
    nodes = []
    for name in NAMES:
        keys = {"signing_key": str(folder / f"{name}.signing"), "sites": pins}
        data = found["data"] | {"site": name, "root": str(folder / "images" / FOLDER)}
        config = folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump(found | {"data": data, "secure_aggregation": keys}), encoding="utf-8")
        nodes.append(Node(name, config, folder / "images" / FOLDER, folder / "state", folder / "cache"))
    return nodes


def raising(*_, **__):
    raise OSError(13, "Permission denied", RAISED)


SCENARIOS = {
    "masks": ({}, None, None),
    "masks and privacy": (PRIVATE, None, None),
    "histograms of scores": (SCORED, None, None),
    "keys are not announced": ({}, (Seat, "_announce", raising), QuorumError),
    "figures are not computed": ({}, (rounds.Site, "_train", raising), MaskingError),
    "a private step fails": (PRIVATE, (rounds.Site, "_private", raising), MaskingError),
    "the ledger can't be written": ({}, (book, "append", raising), QuorumError),
}
"""What a study asks for, what fails at every site, and how the run ends."""


@pytest.fixture
def sent(monkeypatch):
    """Everything that sites answer, as bytes."""
    contents = []

    def app(message, context):
        answer = client_app.app(message, context)
        if answer.has_error():
            contents.append(answer.error.reason.encode())
        else:
            content = answer.content
            told = {
                part: dict(record)
                for part, record in [*content.config_records.items(), *content.metric_records.items()]
            }
            contents.append(json.dumps(told, ensure_ascii=False).encode())
            contents.extend(a.data for part in content.array_records.values() for a in part.values())
        return answer

    monkeypatch.setattr(in_process, "client_app", app)
    return contents


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_names_anybody(hospitals, sent, tmp_path, monkeypatch, name):
    changes, fault, ending = SCENARIOS[name]
    once = secure(rounds=1, local_steps=3, deadline_seconds=5.0, join_seconds=1.0, agreed={"metrics": ()})
    study = StudyConfig.model_validate(once.model_dump() | {"seed": list(SCENARIOS).index(name)} | changes)
    if fault:
        monkeypatch.setattr(*fault)
    with pytest.raises(ending) if ending else nullcontext():
        run_in_process(study, hospitals, RuntimeConfig(threads=1), tmp_path / "server", lambda done, total: None)
    files = [path for path in (tmp_path / "server").rglob("*") if path.is_file() and path.name != "nodes.json"]
    told = {path.name for path in files}
    assert {"run.json", "events.jsonl"} <= told
    assert "masked.json" in told or ending is QuorumError or changes is SCORED
    outside = [*sent, *(path.read_bytes() for path in files), *(path.name.encode() for path in files)]
    state = hospitals[0].state
    outside += [path.read_bytes() for path in (state / "daemon.jsonl", *state.rglob("ledger.jsonl")) if path.exists()]
    assert any(b"anna" in content for content in sent), "what sites answer was looked at"
    assert set().union(*(found(content, SECRETS) for content in outside)) == set()
    told = json.loads((tmp_path / "server" / "run.json").read_text())
    assert told["state"] == ("failed" if ending else "completed")
    scored = {site["site"] for site in (told["calibration"] or {"sites": []})["sites"]}
    assert scored == (set(NAMES) if changes is SCORED else set())


def test_a_refused_bundle_names_nobody(hospitals, tmp_path, monkeypatch):
    """What Flower answers then is of our making, and no app of ours has run."""
    file = write_station(tmp_path).file
    server = {"server": yaml.safe_load(file.read_text())["server"], "state": str(tmp_path / "state")}
    file.write_text(yaml.safe_dump(yaml.safe_load(hospitals[0].site_config.read_text()) | server))
    station, bundle = open_station(file), RAISED.encode()
    monkeypatch.setattr(supernode.flower_node, supernode.REFUSAL, None)
    asked = Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})
    assert not supernode._verify(station, Events(station.events), asked, {})
    reason = getattr(supernode.flower_node, supernode.REFUSAL).reason
    (ledger,) = station.state.rglob("ledger.jsonl")
    assert reason == "BundleError at anna"
    assert b"server.allowed: not the app bundle" in ledger.read_bytes()
    outside = (reason.encode(), station.events.read_bytes(), ledger.read_bytes())
    assert set().union(*(found(content, SECRETS) for content in outside)) == set()


def test_the_search_can_fail(hospitals):
    assert "Zwetschge" in found(RAISED.encode(), SECRETS)
    assert FOLDER in found(hospitals[0].site_config.read_bytes(), SECRETS)
