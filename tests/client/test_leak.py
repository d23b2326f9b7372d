"""`ra-client leak`: what a site finds out about a model that was trained on its patients, and where it stands."""

import csv
import json
import stat

import pytest
import yaml
from artifacts import edit_card, new_artifact
from hospitals import write_hospitals
from typer.testing import CliRunner

from client.cli import app
from client.leak.outcome import load_outcome
from client.models import store_model
from ra_core.artifact import DataSummary
from ra_core.errors import ArtifactError, ConfigError, TooFewImagesError
from ra_core.privacy.statement import PrivacyStatement, SitePrivacy

pytestmark = pytest.mark.slow


@pytest.fixture
def site(site_root, tmp_path):
    """A site config with a data root, a state folder, and a model that was trained there."""
    file = write_hospitals(site_root, tmp_path, ("anna",))[0].site_config
    change(file, state="state", data={"site": "anna", "manifest": str(tmp_path / "anna.csv"), "root": str(site_root)})
    return file


def change(file, **settings):
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | settings))


def model_at(site, **facts):
    return store_model(site.parent / "state", new_artifact(64, **{"steps": 3, "sites": ("anna", "berta")} | facts), "x")


def leak(site, model, *options, fails=None):
    words = ["leak", "--model", str(model), str(site), "--cache", str(site.parent / "cache"), "--pairs", "1", *options]
    result = CliRunner().invoke(app, words)
    if fails:
        assert isinstance(result.exception, fails), result.output
        return result.exception.message
    assert result.exit_code == 0, result.output
    return result.stdout


def numbers(model):
    return json.loads((model / "leak.json").read_text())


def test_from_a_model_to_numbers_beside_it_and_lines_for_people(site):
    model = model_at(site)
    said = leak(site, model)
    found = numbers(model)
    assert (found["trained_patients"], found["held_back_patients"]) == (12, 11)
    assert (found["site"], found["references"], found["steps"], found["changed"]) == ("anna", 1, 3, False)
    assert "12 patients (12 images) trained on, 11 (11) held back" in said
    for name in ("loss_gap", "likelihood_ratio", "images_alone", "found"):
        interval = found[name]
        assert 0 <= interval["ci_low"] <= interval["value"] <= interval["ci_high"] <= 1
        assert f"{interval['value']:.2f} ({interval['ci_low']:.2f} to {interval['ci_high']:.2f})" in said
    assert "nothing sends it. By the policy it may be told outside" in said
    assert stat.S_IMODE((model / "leak.json").stat().st_mode) & 0o077 == 0
    listed = CliRunner().invoke(app, ["models", str(site)]).output
    assert f"AUROC {found['likelihood_ratio']['value']:.2f}" in listed


def test_the_same_call_gives_the_same_and_another_seed_does_not(site):
    model = model_at(site)
    texts = []
    for seed in ("1", "1", "2"):
        leak(site, model, "--seed", seed)
        texts.append((model / "leak.json").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_the_officers_page_has_it(site):
    first, second = model_at(site), model_at(site, seed=2)
    leak(site, first)
    said = CliRunner().invoke(app, ["ledger", "report", str(site)]).output
    value = numbers(first)["likelihood_ratio"]["value"]
    row = next(line for line in said.splitlines() if line.startswith(f"{first.name} | 12 | 11 | "))
    assert f"AUROC {value:.2f} (" in row
    assert f"{second.name} |  |  | not attacked" in said
    assert row.rpartition(" | ")[2] in (site.parent / "state/anna/ledger/report.html").read_text().replace("&#39;", "'")


def test_no_patient_and_no_file_is_named(site, site_root):
    model = model_at(site)
    written = leak(site, model) + (model / "leak.json").read_text()
    rows = list(csv.DictReader((site.parent / "anna.csv").open()))
    assert [row for row in rows if row["patient_id"] in written or row["path"] in written] == []


def test_a_model_that_was_not_trained_here_is_refused(site):
    assert "was not trained at site 'anna'" in leak(site, model_at(site, sites=("berta",)), fails=ConfigError)


def test_too_few_patients_are_refused_and_nothing_is_written(site):
    manifest = site.parent / "anna.csv"
    rows = manifest.read_text().splitlines()
    manifest.write_text("\n".join(row for row in rows if not row.startswith("test_healthy")))
    model = model_at(site)
    assert "12 patients trained on and 5 held back" in leak(site, model, fails=TooFewImagesError)
    assert not (model / "leak.json").exists()


def test_references_are_trained_as_the_study_says_which_has_to_be_the_models(site):
    model = model_at(site)
    study = site.parent / "study.yaml"
    method = {"name": "ra", "channels": [4, 8], "latent": 4, "warmup_steps": 1}
    study.write_text(yaml.safe_dump({"preprocessing": {"size": 64}, "method": method}))
    assert "is not the study of this model" in leak(site, model, "--study", str(study), fails=ConfigError)
    study.write_text(
        yaml.safe_dump(
            {
                "preprocessing": {"size": 64},
                "method": {"name": "ra", "channels": [4, 8], "latent": 4},
                "training": {"batch_size": 2},
            }
        )
    )
    careful = "careful: reference models were trained by the usual settings"
    assert careful in leak(site, model)
    assert numbers(model)["as_study"] is False
    plain = numbers(model)["likelihood_ratio"]
    assert careful not in leak(site, model, "--study", str(study), "--steps", "5")
    assert numbers(model)["as_study"] is True
    assert numbers(model)["steps"] == 5
    assert numbers(model)["likelihood_ratio"] != plain


def test_other_images_than_the_cards_are_told(site):
    summary = {"train_patients": 1, "val_images": 1, "val_patients": 1, "used_files": 1, "declared_files": 1}
    for count, changed in ((12, False), (13, True), (0, False)):
        model = model_at(site, seed=count, data=(DataSummary(site="anna", train_images=count, **summary),))
        assert ("careful: the card has another number" in leak(site, model)) is changed
        assert numbers(model)["changed"] is changed


@pytest.mark.parametrize(
    ("policy", "private", "said"),
    [
        ({"metrics": "none"}, False, "By policy.metrics it may not be told"),
        ({"metrics": ["validation_error"]}, False, "By policy.metrics it may not be told"),
        ({"metrics": ["membership"]}, False, "it may be told outside"),
        ({}, True, "By policy.dp_tells it may not be told"),
        ({"dp_tells": ["metrics"]}, True, "it may be told outside"),
    ],
)
def test_whether_it_may_be_told_is_the_policys(site, policy, private, said):
    change(site, policy=policy)
    each = SitePrivacy(site="anna", epsilon=7.5, delta=1e-5, noise_multiplier=1.0, outside=())
    statement = PrivacyStatement(
        sites=(each,), clip_norm=1, sampling_rate=0.1, spare_rounds=0, accountant="a", selection="latest"
    )
    model = model_at(site, privacy=statement if private else None)
    text = leak(site, model)
    assert said in text
    assert ("at most epsilon 7.5 of a patient" in text) is private
    assert numbers(model)["epsilon"] == (7.5 if private else None)


def test_what_is_damaged_or_of_another_model_is_not_believed(site):
    model = model_at(site)
    leak(site, model)
    right = numbers(model)["model_hash"]
    assert load_outcome(model, right) is not None
    assert load_outcome(model, "0" * 64) is None
    (model / "leak.json").write_text("{")
    assert load_outcome(model, right) is None
    assert "not attacked at this site" in CliRunner().invoke(app, ["models", str(site)]).output


def test_a_damaged_model_is_told(site):
    model = model_at(site)
    edit_card(model, model_hash="0" * 64)
    assert "wrong hash" in leak(site, model, fails=ArtifactError)
