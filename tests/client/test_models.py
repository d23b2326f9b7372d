"""Models that were delivered: stored, listed, and ready for `ra-client score`."""

import numpy as np
import pytest
import yaml
from artifacts import new_artifact
from stations import write_station
from typer.testing import CliRunner

import ra_core
from client.cli import app
from client.models import models, store_model
from ra_core.artifact import Artifact
from ra_core.daemons.events import read_events


def artifact(seed=0):
    return new_artifact(seed=seed, rounds=4, selected=3, sites=("anna", "berta"))


@pytest.fixture
def station(tmp_path):
    return write_station(tmp_path)


def printed(station):
    result = CliRunner().invoke(app, ["models", str(station.file)])
    assert result.exit_code == 0, result.output
    return result.output


def test_none_yet(station):
    assert printed(station) == "no model has come yet\n"


def test_a_model_is_stored_told_listed_and_scores(station):
    delivered = artifact()
    folder = store_model(station.state, delivered, "run study")
    assert folder == station.state / "models" / delivered.card.model_hash[:16]
    assert store_model(station.state, delivered, "run study") == folder
    assert len(models(station.state)) == 1
    told = read_events(station.events)[0]
    assert {event["model_hash"] for event in told} == {delivered.card.model_hash}
    text = printed(station)
    assert "from run study; sites: anna, berta; best of 4 rounds: 3; " in text
    assert "; not calibrated at this site, so scores but no decisions: `ra-client calibrate` sets" in text
    assert str(folder) in text
    result = ra_core.load(folder).score(np.random.default_rng(0).normal(size=(40, 40)))
    assert np.isfinite(result.score)
    assert result.decision is None


def test_the_latest_is_first_and_damaged_ones_are_last(station, monkeypatch):
    times = iter(["2026-01-01T00:00:00+00:00", "2026-01-03T00:00:00+00:00", "2026-01-02T00:00:00+00:00"])
    monkeypatch.setattr("client.models._now", lambda: next(times))
    first, second, third = (store_model(station.state, artifact(seed), "run study") for seed in (0, 1, 2))
    assert [one.folder for one in models(station.state)] == [second, third, first]
    (second / "model.safetensors").write_bytes(b"x")
    (third / "received.json").unlink()
    assert [one.folder for one in models(station.state)] == [first, *sorted([second, third])]
    text = printed(station)
    assert "can't be used: model.safetensors: can't be read" in text
    assert "came otherwise" in text


def test_who_withdrew_from_it_is_listed(station):
    store_model(station.state, new_artifact(sites=("anna", "berta"), withdrawn=("berta",)), "the file x")
    assert "sites: anna, berta; since withdrawn from by berta; " in printed(station)


def test_a_calibration_beside_the_model_counts(station):
    folder = store_model(station.state, artifact(), "run study")
    (folder / "calibration.json").write_text("{}")
    assert "; calibrated at this site" in printed(station)


def test_a_card_of_another_model_is_not_stored(station):
    wrong = Artifact(artifact(1).method, artifact(0).card)
    with pytest.raises(ValueError, match="model_hash"):
        store_model(station.state, wrong, "run study")
    assert models(station.state) == []


def test_a_hospital_that_is_no_member_lists_what_it_imported(station):
    settings = yaml.safe_load(station.file.read_text())
    del settings["server"]
    station.file.write_text(yaml.safe_dump(settings))
    assert printed(station) == "no model has come yet\n"
