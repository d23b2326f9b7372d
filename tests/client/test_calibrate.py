"""`ra-client calibrate`: a site's thresholds on its own healthy images, and what the site is told of them."""

import csv
import json
import re
import stat

import numpy as np
import pytest
import yaml
from artifacts import new_artifact
from scorable import head, write_png
from typer.testing import CliRunner

import ra_core
from client.cli import app
from client.site import open_site
from ra_core.artifact import Artifact, load_artifact, save_artifact
from ra_core.calibration import load_calibration
from ra_core.calibration.calibrating import TRAINED_TOO
from ra_core.config import SiteConfig
from ra_core.data import halves
from ra_core.data.site_images import sets_thresholds
from ra_core.errors import ConfigError, TooFewImagesError
from ra_core.perceptual import Perceptual
from ra_core.scoring import SCORINGS
from ra_core.settings import load_config
from ra_core.thresholds import Histogram, conformal_threshold
from ra_core.thresholds.record import FederatedCalibration
from ra_core.thresholds.shrinkage import consortium, shrunken

pytestmark = pytest.mark.slow

PLAIN = next(scoring for scoring in SCORINGS if scoring.name == "residual_top")
STANDARDISED = "standardised_residual_top"
HEADER = "path,site,anatomy,modality,split,label,pathology,patient_id,region_mask,source,lesion_mask"


def write_site(folder, calibration=40, val=4, pictures=1):
    """A site 'north' with so many patients; the first calibration patient has `pictures` pictures."""
    rows, seed = [], 0
    for split, count in (("train", 8), ("val", val), ("calibration", calibration)):
        for patient in range(count):
            for number in range(pictures if split == "calibration" and patient == 0 else 1):
                name = f"{split}_{patient}_{number}.png"
                write_png(folder / "images" / name, head((64, 64), seed))
                rows.append([name, "north", "none", "OT", split, "healthy", "", f"{split}_{patient}", "", "test", ""])
                seed += 1
    with (folder / "images/manifest.csv").open("w", newline="") as file:
        file.write(f"{HEADER}\n")
        csv.writer(file).writerows(rows)
    settings = {"name": "North", "anatomy": "none", "modality": "OT", "runtime": {"threads": 1}}
    config = settings | {"data": {"site": "north", "root": "images"}, "state": "state"}
    config["data"]["root"] = str(folder / "images")
    (folder / "site.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Look, don't touch."""
    return write_site(tmp_path_factory.mktemp("large"))


def write_model(folder, reference=None, **facts):
    artifact = new_artifact(64, **{"anatomy": "none", "modality": "OT"} | facts)
    card = artifact.card.model_copy(update={"calibration": reference})
    save_artifact(folder, Artifact(artifact.method, card))
    return folder


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model")


def calibrate(site, model, *options, fails=None):
    words = ["calibrate", "--model", str(model), "--site", str(site / "site.yaml"), *options]
    result = CliRunner().invoke(app, [*words, "--cache", str(site / "cache")])
    if fails:
        assert isinstance(result.exception, fails), result.output
        return result.exception
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def kept(model):
    return load_calibration(model, load_artifact(model).card)


def scores_by_half(site, model):
    """Scores of the pictures of each half of the calibration patients, as whoever loads the model gets them."""
    config, loaded = load_config(site / "site.yaml", SiteConfig), ra_core.load(model)
    images = open_site(config, loaded.card.preprocessing, site / "images", None).kept_back().calibration
    return [np.array([loaded.score(site / "images" / row.path).score for row in half.rows]) for half in halves(images)]


def reference_of(scores, rate=0.05, unit="slice"):
    """A card's record of a consortium whose sites have these scores."""
    together = Histogram.of(np.concatenate(scores))
    return FederatedCalibration(
        scoring=PLAIN, unit=unit, rate=rate, reference=consortium(scores, rate), healthy=together.cells, sites=()
    )


@pytest.mark.parametrize("scoring", [PLAIN.name, STANDARDISED])
def test_one_half_sets_the_threshold_and_the_other_tries_it(large, model, scoring):
    said = calibrate(large, model, "--scoring", scoring)
    found = kept(model)
    first, second = scores_by_half(large, model)
    assert (found.site, found.slice.n, len(first), len(second)) == ("north", 20, 20, 20)
    expected = conformal_threshold(first, 0.05, "slice")
    assert found.slice.value == pytest.approx(expected.value, rel=1e-5)
    assert (found.slice.low, found.slice.high) == (expected.low, expected.high)
    above = int((second > found.slice.value).sum())
    assert (found.slice.achieved.above, found.slice.achieved.n) == (above, 20)
    assert f"{above} of 20 others above" in said
    assert (found.healthy is not None) is (scoring == STANDARDISED)
    assert found.usual.of("slice")["score"] == Histogram.of(np.concatenate([first, second]))


def test_a_decision_says_what_it_rests_on(large, model):
    calibrate(large, model, "--scoring", PLAIN.name, "--rate", "0.1")
    result = ra_core.load(model).score(large / "images/train_0_0.png")
    assert result.decision is not None
    assert re.fullmatch(
        r"calibrated on 20 healthy patients of north, asked 10 %, expected range [\d.]+ % to [\d.]+ %",
        result.decision_note,
    )


def test_a_decision_says_that_it_rests_on_one_patient(large, model):
    calibrate(large, model, "--scoring", PLAIN.name)
    note = ra_core.load(model).score(large / "images/train_0_0.png").decision_note
    assert note.endswith("; rests on the highest score alone: 39 patients would bear an outlier")


def test_what_pixels_rest_on_stands_beside_what_was_asked(large, model):
    said = calibrate(large, model, "--scoring", PLAIN.name, "--pixel-rate", "0.075")
    promise = "asked at most 7.5 % of a healthy patient's pixels, on average"
    assert f"{promise}; may rest on one patient's pixels alone: 26 patients would bear an outlier" in said
    few = calibrate(large, model, "--scoring", PLAIN.name, "--pixel-rate", "0.01")
    assert "pixels, on average; a plain quantile, nothing is promised; not enough patients: 20 of 99 needed" in few


def test_the_files_are_the_owners_and_name_nobody(large, model, tmp_path):
    out = tmp_path / "out"
    said = calibrate(large, model, "--scoring", STANDARDISED, "--out", str(out))
    assert sorted(path.name for path in out.iterdir()) == [
        "calibration.html",
        "calibration.json",
        "healthy.safetensors",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}
    assert not (model / "calibration.json").exists()
    written = said + (out / "calibration.html").read_text() + (out / "calibration.json").read_text()
    assert not re.search(r"calibration_\d|val_\d|train_\d", written)
    assert "Nothing was sent" in said
    again = tmp_path / "again"
    calibrate(large, model, "--scoring", STANDARDISED, "--out", str(again))
    for path in out.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_the_page_has_the_card_and_a_picture(large, model):
    calibrate(large, model, "--scoring", PLAIN.name)
    page = (model / "calibration.html").read_text()
    assert "Site-only" in page
    assert "local (decides)" in page
    assert "expected range" in page
    assert "data:image/png;base64," in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "<h2>Warnings" not in page


def test_where_there_are_too_few_there_are_scores_and_no_decisions(tmp_path, model):
    site = write_site(tmp_path / "small", calibration=9)
    said = calibrate(site, model, "--scoring", PLAIN.name)
    assert "NO DECISIONS on pictures by themselves: not enough patients: 6 of 19 needed" in said
    assert "about 26 more would do" in said
    assert "decides" not in said + (model / "calibration.html").read_text()
    result = ra_core.load(model).score(site / "images/train_0_0.png")
    assert result.score > 0
    assert (result.decision, result.threshold) == (None, None)
    assert result.decision_note == "no decision: not enough patients: 6 of 19 needed"
    assert "NO DECISIONS" in (model / "calibration.html").read_text()


def test_without_a_calibration_split_half_of_val_is_kept_back(tmp_path):
    site = write_site(tmp_path / "site", calibration=0, val=12)
    model = write_model(tmp_path / "other", sites=("elsewhere",))
    said = calibrate(site, model, "--scoring", PLAIN.name, "--rate", "0.3")
    assert "every second patient of val was kept back" in said
    assert kept(model).slice.n == 3
    first, second = scores_by_half(site, model)
    assert (len(first), len(second)) == (3, 4)
    assert "the model's weights were chosen without this site" in said
    assert kept(model).slice.low is not None


def test_validation_patients_who_chose_the_weights_promise_nothing(tmp_path):
    site = write_site(tmp_path / "site", calibration=0, val=12)
    model = write_model(tmp_path / "model", sites=("north",))
    said = calibrate(site, model, "--scoring", PLAIN.name, "--rate", "0.3", "--pixel-rate", "0.3")
    found = kept(model)
    assert "they helped to choose the model's weights, so that nothing is promised" in said
    for threshold in (found.pixel, found.slice, found.study):
        assert (threshold.value is not None, threshold.low, threshold.note) == (True, None, TRAINED_TOO)
    assert "expected range" not in said
    result = ra_core.load(model).score(site / "images/train_0_0.png")
    assert result.decision_note == f"calibrated on 3 healthy patients of north, asked 30 %, {TRAINED_TOO}"


def test_validation_patients_who_were_kept_out_of_the_training_are_promised_for(tmp_path, others):
    site = write_site(tmp_path / "site", calibration=0, val=12)
    model = write_model(tmp_path / "model", reference_of(others, rate=0.3), sites=("north",))
    said = calibrate(site, model, "--way", "local")
    assert "the same draw kept them out of the model's training" in said
    assert kept(model).slice.low is not None


@pytest.mark.parametrize(
    ("patient", "lack"), [("val_1", "no patient to set thresholds on"), ("val_0", "no validation patient left")]
)
def test_nobody_to_calibrate_on_is_an_error(tmp_path, model, patient, lack):
    """The first is not kept back, the second is, and there is no other."""
    site = write_site(tmp_path / "site", calibration=0, val=4)
    manifest = site / "images/manifest.csv"
    manifest.write_text(re.sub(r"val_\d,,test", f"{patient},,test", manifest.read_text()))
    error = calibrate(site, model, "--scoring", PLAIN.name, fails=TooFewImagesError)
    assert lack in error.message
    assert not (model / "calibration.json").exists()


def test_a_study_is_judged_by_its_highest_picture(tmp_path, model):
    site = write_site(tmp_path / "site", pictures=5)
    said = calibrate(site, model, "--scoring", PLAIN.name)
    found = kept(model)
    assert found.study.value >= found.slice.value
    assert "pictures by themselves:" in said
    assert found.usual.of("study")["score"].n == found.usual.of("slice")["score"].n == 40


def test_who_tries_thresholds_may_be_the_one_with_several_pictures(tmp_path, model):
    """Then volumes have a threshold of their own to be told of, too."""
    site = write_site(tmp_path / "site", calibration=40)
    other = next(f"calibration_{number}" for number in range(40) if not sets_thresholds(f"calibration_{number}"))
    one = next(name for number in range(40) if sets_thresholds(name := f"calibration_{number}"))
    assert one != other
    manifest = site / "images/manifest.csv"
    rows = manifest.read_text().splitlines()
    more = next(row for row in rows if f",{other}," in row).replace(f"{other}_0.png", "more.png")
    write_png(site / "images/more.png", head((64, 64), 999))
    manifest.write_text("\n".join([*rows, more, ""]))
    said = calibrate(site, model, "--scoring", PLAIN.name)
    assert kept(model).pictures == (1, 1)
    assert "pictures of a patient: 1 to 2" in said
    assert "studies (a patient's highest picture):" in said


def test_a_scoring_that_is_none_is_told_before_any_image_is_looked_at(large, model, monkeypatch):
    monkeypatch.setattr("client.calibrate.run.survey", None)
    error = calibrate(large, model, "--scoring", "nonsense", fails=ConfigError)
    assert "no scoring 'nonsense'" in error.message
    assert PLAIN.name in error.hint


# --- with a consortium


@pytest.fixture
def others():
    """Healthy scores of other sites, such as an untrained model gives."""
    rng = np.random.default_rng(0)
    return [rng.gamma(40, 0.01, 60) for _ in range(4)]


def test_with_a_consortium_the_shrunken_threshold_decides(large, tmp_path, others):
    reference = reference_of(others)
    model = write_model(tmp_path / "model", reference)
    said = calibrate(large, model)
    found = kept(model)
    first, second = scores_by_half(large, model)
    assert found.scoring == PLAIN
    assert found.slice.way == "shrunken"
    assert found.slice.value == pytest.approx(shrunken(first, reference.reference), rel=1e-5)
    above = int((second > found.slice.value).sum())
    assert found.slice.told("north") == (
        f"calibrated on 20 healthy patients of north, asked 5 %, shrunken, measured {above} of 20: "
        "no finite-sample guarantee; 50 % of it rest on the highest score alone: 39 patients would bear an outlier"
    )
    assert "no finite-sample guarantee; 50 % of it rest on the highest score alone" in said
    assert found.study == found.slice.model_copy(update={"unit": "study"})  # each patient has one picture
    for way in ("local", "shrunken", "pooled"):
        assert re.search(rf"^  [* ] {way} +above [\d.]+", said, re.MULTILINE)
    assert "* shrunken" in said
    assert "the consortium's way to score" in said
    assert "against the consortium: scores differ: KS" in said
    assert "the pooled threshold does not fit this site" in said


@pytest.mark.parametrize("way", ["local", "pooled"])
def test_another_way_decides_where_it_is_asked_for(large, tmp_path, others, way):
    reference = reference_of(others)
    model = write_model(tmp_path / "model", reference)
    calibrate(large, model, "--way", way)
    found = kept(model).slice
    assert found.way == way
    assert (found.value == reference.reference.pooled) is (way == "pooled")


def test_more_above_a_threshold_in_force_than_was_asked_is_warned_of(large, tmp_path):
    low = [np.geomspace(1e-4, 2e-4, 60)] * 4  # scores of others are so low that all of ours are above the pooled one
    model = write_model(tmp_path / "model", reference_of(low))
    warning = (
        "warning: pictures by themselves: 20 of 20 others above: 100 % (83 % to 100 %), more above than the 5 % asked"
    )
    said = calibrate(large, model, "--way", "pooled")
    assert warning in said
    assert warning.removeprefix("warning: ") in (model / "calibration.html").read_text()
    assert said.count("more above than") == 1
    assert "more above than" not in calibrate(large, model, "--way", "local")


def test_few_patients_have_a_shrunken_threshold(tmp_path, others):
    model = write_model(tmp_path / "model", reference_of(others))
    site = write_site(tmp_path / "small", calibration=9)
    said = calibrate(site, model)
    assert kept(model).slice.way == "shrunken"
    assert "NO DECISIONS" not in said
    assert "of 3 others above" in said


def test_a_reference_for_another_rate_or_scoring_is_not_used(large, tmp_path, others):
    model = write_model(tmp_path / "model", reference_of(others))
    assert "the consortium asked for 0.05" in calibrate(large, model, "--rate", "0.1")
    assert kept(model).slice.way == "local"
    assert "the consortium scored by residual_top" in calibrate(large, model, "--scoring", "residual")
    assert kept(model).slice.way == "local"
    calibrate(large, model, "--scoring", "residual", "--way", "pooled")
    assert kept(model).slice.value is None
    assert "no pooled threshold" in kept(model).slice.note


# --- choosing, warning, refusing


def test_the_scoring_is_chosen_on_synthetic_anomalies(large, model, monkeypatch, untrained_perceptual, nothing_loaded):
    monkeypatch.setattr(Perceptual, "load", lambda *_: untrained_perceptual)
    said = calibrate(large, model)
    found = kept(model)
    assert f"scoring: {found.scoring.name}: it finds synthetic anomalies on val images best" in said
    assert found.scoring in SCORINGS
    assert found.perceptual_hash == untrained_perceptual.digest


def test_foreign_images_are_warned_of(large, tmp_path):
    model = write_model(tmp_path / "model", anatomy="chest")
    said = calibrate(large, model, "--scoring", PLAIN.name)
    assert "warning: the model was trained on anatomy chest, and this site is one of anatomy none" in said
    assert "ask it for its profile" in said


def test_a_profile_tells_foreign_images(large, model, tmp_path):
    profile = tmp_path / "profile.json"
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({"preprocessing": {"size": 64}}))
    words = ["check", str(large / "site.yaml"), "--study", str(study), "--out", str(tmp_path / "check")]
    CliRunner().invoke(app, [*words, "--write-profile", str(profile), "--cache", str(large / "cache")])
    options = ("--scoring", PLAIN.name, "--profile", str(profile))
    own = calibrate(large, model, *options)
    assert "warning" not in own
    assert "ask it for its profile" not in own
    facts = json.loads(profile.read_text())
    facts["statistics"]["mean"]["median"] += 0.5
    profile.write_text(json.dumps(facts))
    assert "the site's healthy images differ from the consortium's: mean is" in calibrate(large, model, *options)


@pytest.mark.parametrize("options", [("--rate", "0"), ("--rate", "1.5"), ("--pixel-rate", "-1")])
def test_what_is_no_rate_is_refused(large, model, options):
    assert "is no rate" in calibrate(large, model, *options, fails=ConfigError).message


def test_an_unknown_scoring_is_refused_with_those_that_there_are(large, model):
    error = calibrate(large, model, "--scoring", "magic", fails=ConfigError)
    assert "magic" in error.message
    assert "residual_top" in error.hint
