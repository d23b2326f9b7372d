"""From a federation to decisions at its hospitals: the model that was delivered, calibrated with the command."""

import re

import pytest
import yaml
from federating import train_hospitals
from scored import calibrating, write_sites
from typer.testing import CliRunner

import ra_core
from client.cli import app
from client.models import models, told
from ra_core.artifact import Artifact, load_artifact, save_artifact
from ra_core.calibration import load_calibration
from ra_core.perceptual import Perceptual
from ra_core.thresholds import EDGES, edge_above
from ra_core.words import rounded_up

pytestmark = pytest.mark.slow

NAMES = ("anna", "berta", "clara")


@pytest.fixture
def network(monkeypatch, untrained_perceptual, nothing_loaded):
    """What all find where they ask for a perceptual network; the list has whom they asked for."""
    asked = []
    monkeypatch.setattr(Perceptual, "load", lambda config, _: asked.append(config.net) or untrained_perceptual)
    return asked


class Consortium:
    """Sites that have trained a model together, and how each calibrates it."""

    def __init__(self, folder, study, **sites):
        self.folder, self.nodes = folder, write_sites(folder, NAMES, **sites)
        self.found = train_hospitals(self.nodes, study).calibration
        (stored,) = models(folder / "state")
        self.model = stored.folder

    def of(self, name):
        return next(site for site in self.found.sites if site.site == name)

    def calibrate(self, name, *options):
        """What the command says, and what it writes."""
        (node,) = (node for node in self.nodes if node.site == name)
        config = yaml.safe_load(node.site_config.read_text())
        config["data"]["root"] = str(node.data_root)
        (self.folder / f"{name}_site.yaml").write_text(yaml.safe_dump(config))
        words = ["calibrate", "--model", str(self.model), "--site", str(self.folder / f"{name}_site.yaml"), *options]
        result = CliRunner().invoke(app, [*words, "--cache", str(node.cache)])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout, load_calibration(self.model, load_artifact(self.model).card)

    def edit(self, **changes):
        """The card says something else of the consortium's scores."""
        artifact = load_artifact(self.model)
        found = artifact.card.calibration.model_copy(update=changes)
        card = artifact.card.model_copy(update={"calibration": found})
        save_artifact(self.model, Artifact(artifact.method, card))


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """A study that says `calibration: {}` and nothing more, at sites with one picture a patient."""
    policies = {name: {"histograms": "all"} for name in NAMES}
    return Consortium(tmp_path_factory.mktemp("usual"), calibrating(0.05), policies=policies, pictures=1)


def test_hospitals_with_one_picture_a_patient_decide_by_the_consortiums_threshold(usual):
    said, found = usual.calibrate("anna")
    assert (usual.found.unit, found.slice.way, found.study.way) == ("study", "shrunken", "shrunken")
    assert found.slice.value == found.study.value
    assert 0 <= EDGES.searchsorted(usual.of("anna").shrunken) - EDGES.searchsorted(found.slice.value) <= 1
    assert "NO DECISIONS" not in said
    assert "this site's own" not in said
    assert "the consortium's way to score" in said
    for label in ("healthy", "anomalous"):
        result = ra_core.load(usual.model).score(usual.folder / f"anna_images/test_{label}_0_0.png")
        assert result.decision is (result.score > found.slice.value)
        assert re.search(r"shrunken, measured \d+ of \d+: no finite-sample guarantee", result.decision_note)


def test_a_members_drift_is_that_against_the_other_sites_at_whatever_rate(usual):
    drift = usual.of("anna").drift
    for options in ((), ("--rate", "0.3")):
        assert f"{drift.told_ks}, chance {drift.ks_p:.2g}" in usual.calibrate("anna", *options)[0]


def test_what_the_run_has_found_is_told_at_the_site(usual):
    numbers = {(figure.metric, figure.where): figure.number for figure in usual.found.figures}
    (stored,) = models(usual.folder / "state")
    listed = told(stored)
    for metric, name in (("auroc", "AUROC"), ("false_alarm_rate", "false alarms at the sites' thresholds")):
        within, across, own = (numbers[metric, where] for where in ("within sites", "across sites", "anna"))
        assert f"{name}: within sites {within.value:.2f} (" in listed
        assert f"across sites {across.value:.2f} (" in listed
        for number in (within, across):
            assert f", {number.n_healthy} healthy and {number.n_anomalous} anomalous patients" in listed
        assert f"in the consortium's run: {name}: {own.value:.2f} (" in usual.calibrate("anna")[0]
    assert f"cells may have moved it by {rounded_up(numbers['auroc', 'within sites'].bound, 3)}" in listed


def test_pictures_of_a_patient_with_several_are_told_to_have_thresholds_of_their_own(tmp_path):
    said, found = Consortium(tmp_path, calibrating()).calibrate("anna")
    assert (found.slice.way, found.study.way) == ("local", "shrunken")
    assert (
        "thresholds are of studies (a patient's highest picture): pictures by themselves have this site's own" in said
    )


@pytest.mark.parametrize("scoring", ["standardised_residual_top", "perceptual"])
def test_a_site_scores_alone_as_it_did_in_the_run(tmp_path, network, scoring):
    """The same reference images, network and draw of pictures: thresholds agree within a cell."""
    study = calibrating(calibration={"scoring": scoring, "unit": "slice"})
    study = study.model_copy(update={"perceptual": study.perceptual.model_copy(update={"net": "squeeze"})})
    whole = Consortium(tmp_path, study, counts={"train": 20, "val": 4, "calibration": 24})
    for name in NAMES:
        said, found = whole.calibrate(name, "--way", "local")
        exact = found.slice.value
        lowest, highest = edge_above(exact * (1 - 1e-6)), edge_above(exact * (1 + 1e-6))
        assert whole.of(name).local.value in {lowest, highest}
        assert "another perceptual network" not in said
    assert set(network) <= {"squeeze"}


def test_scores_through_another_network_have_no_reference(tmp_path, network):
    whole = Consortium(tmp_path, calibrating(calibration={"scoring": "perceptual", "unit": "slice"}))
    assert whole.calibrate("anna")[1].slice.way == "shrunken"
    whole.edit(network="d" * 64)
    said, found = whole.calibrate("anna")
    assert found.slice.way == "local"
    assert "the consortium scored through another perceptual network" in said
    assert network


def test_where_all_sites_withhold_their_scores_it_is_said(tmp_path):
    whole = Consortium(tmp_path, calibrating(), policies={name: {"histograms": "none"} for name in NAMES})
    said, found = whole.calibrate("anna")
    assert found.study.way == "local"
    assert "too few scores of the consortium's sites are on the model's card" in said
    assert re.search("against the consortium: nothing to compare", said)
