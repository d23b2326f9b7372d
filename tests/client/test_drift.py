"""The history that scoring keeps, and `ra-client drift`, which holds it against the calibration."""

import hashlib
import json
import stat
from datetime import UTC, datetime

import numpy as np
import pytest
import yaml
from scorable import head, new_artifact, new_calibration, write_png
from typer.testing import CliRunner

from client.cli import app
from client.score import history as kept
from client.score.history import History
from ra_core.artifact import save_artifact
from ra_core.calibration import save_calibration
from ra_core.calibration.watching import Tallies, compare, visible
from ra_core.errors import ConfigError, DriftError, ResumeError
from ra_core.model import identity_of
from ra_core.thresholds import Histogram
from ra_core.thresholds.drift import least_ks

MODEL = "a" * 64
NOW = f"{datetime.now(UTC):%Y-%m}"


def normal(seed, count, shift=0.0):
    rng = np.random.default_rng(seed)
    return {
        "score": np.abs(rng.normal(0.5 + shift, 0.05, count)),
        "brightness": np.abs(rng.normal(0.3, 0.03, count)),
        "orientation": rng.normal(1.3, 0.05, count),
        "rows": np.full(count, 512.0),
    }


def tallies(values):
    return Tallies(slice={name: Histogram.of(found).cells for name, found in values.items()})


@pytest.fixture
def site(tmp_path):
    """A site, a model with a calibration, and a function that fills months with numbers."""
    settings = {"name": "N", "anatomy": "x", "modality": "OT", "data": {"site": "north"}, "state": "state"}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(settings))
    artifact = new_artifact(64)
    calibration = new_calibration(artifact, image=0.6, usual=tallies(normal(0, 60)))
    save_artifact(tmp_path / "model", artifact)
    save_calibration(tmp_path / "model", calibration)
    history = History(tmp_path / "state", identity_of(artifact.card, calibration, calibration.scoring))

    def fill(values, month="2026-01"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kept, "_now", lambda: month)
            for place, row in enumerate(zip(*values.values(), strict=True)):
                numbers = dict(zip(values, map(float, row), strict=True))
                history.add(hashlib.sha256(f"{month}/{place}".encode()).hexdigest(), "slice", numbers)

    return tmp_path, fill


def drift(site, *options):
    words = ["drift", "--model", str(site / "model"), "--site", str(site / "site.yaml"), *options]
    return CliRunner().invoke(app, words)


def said(site, *options):
    result = drift(site, *options)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


# --- what is said


def test_a_month_like_the_calibration_still_fits(site):
    folder, fill = site
    fill(normal(1, 50))
    told = said(folder, "--strict")
    assert "2026-01: 50 studies scored" in told
    assert told.endswith("No change was found between the month's pictures and the calibration's.\n")
    assert "calibrated at north" in told


def test_what_is_above_the_threshold_is_no_diagnosis(site):
    folder, fill = site
    fill(normal(1, 50))
    assert (
        "of 50 above the threshold, calibrated on 40 healthy patients of north, asked 5 %, "
        "expected range 1 % to 13 %; more than that may be findings, or a change"
    ) in said(folder)


@pytest.mark.parametrize(
    ("name", "change", "check", "todo"),
    [
        ("brightness", lambda x: 1.3 * x, "intensity", "look at the scanner"),
        ("orientation", lambda x: x - 0.5, "orientation", "look at the export"),
        ("rows", lambda x: x + 512, "size", "look at the protocol"),
        ("score", lambda x: x + 0.1, "scores", "look at the pictures with the highest scores"),
    ],
)
def test_what_has_moved_is_named_with_what_to_do(site, name, change, check, todo):
    folder, fill = site
    values = normal(1, 50)
    fill(values | {name: change(values[name])})
    told = said(folder)
    assert f"  {check} ({name} " in told
    assert todo in told
    assert "calibrate again" in told
    assert told.count(" moved") == 1 + (check != "scores")  # the table's line, and the verdict
    strict = drift(folder, "--strict")
    assert isinstance(strict.exception, DriftError)
    assert check in strict.exception.message
    assert strict.exception.exit_code == 33
    assert strict.stdout == told


def test_higher_scores_alone_may_be_findings(site):
    folder, fill = site
    fill(normal(1, 50, shift=0.1))
    told = said(folder)
    assert "look as they did at the calibration, but their scores are others" in told
    assert "DO NOT FIT" not in told


def test_few_studies_are_called_few(site):
    folder, fill = site
    fill(normal(1, 5))
    told = said(folder)
    ks = least_ks(60, 5, 0.05 / 8)  # two tests each of four numbers
    assert (
        f"Careful, few: pictures by themselves: with 60 at the calibration and 5 in the month, only a KS above {ks:.2f}"
        in told
    )


@pytest.mark.parametrize(("reference", "month", "few"), [(60, 50, False), (19, 50, True), (60, 19, True)])
def test_few_are_those_of_the_calibration_too(reference, month, few):
    (seen,) = visible(compare(tallies(normal(0, reference)), tallies(normal(1, month))))
    assert (seen.n_reference, seen.n, seen.few) == (reference, month, few)


def test_a_difference_above_that_which_would_show_is_seen_and_one_below_is_not():
    reference = np.geomspace(1, 2, 60)
    for step in range(60):
        later = np.append(reference[step:], np.full(step, 3.0))
        compared = compare(tallies({"score": reference}), tallies({"score": later}))
        (seen,), drift = visible(compared), compared[0].drift
        assert (2 * drift.ks_p < 0.05) == (drift.ks > seen.ks)


def test_false_alarms_of_a_month_are_rare():
    """Of months without a change at most one in twenty; the tests are approximate, so twice that is let pass."""
    wrong = sum(
        any(one.moved for one in compare(tallies(normal(2 * seed, 60)), tallies(normal(2 * seed + 1, 40))))
        for seed in range(150)
    )
    assert wrong <= 15


def test_the_last_month_is_taken_or_the_one_named(site):
    folder, fill = site
    fill(normal(1, 20), "2025-12")
    fill(normal(2, 30), "2026-02")
    assert "2026-02: 30 studies" in said(folder)
    assert "2025-12: 20 studies" in said(folder, "--month", "2025-12")
    missing = drift(folder, "--month", "2026-01").exception
    assert isinstance(missing, ConfigError)
    assert "2025-12, 2026-02" in missing.hint
    assert "is no month" in drift(folder, "--month", "../../x").exception.message


def test_another_sites_calibration_is_refused(site):
    folder, fill = site
    fill(normal(1, 50))
    config = yaml.safe_load((folder / "site.yaml").read_text())
    config["data"]["site"] = "south"
    (folder / "site.yaml").write_text(yaml.safe_dump(config))
    error = drift(folder).exception
    assert isinstance(error, ConfigError)
    assert "the calibration is of site 'north', and the site config of 'south'" in error.message
    assert "ra-client calibrate" in error.hint


def test_without_scores_or_a_state_folder_it_says_so(site):
    folder, _ = site
    assert "no scores with this model" in drift(folder).exception.message
    config = yaml.safe_load((folder / "site.yaml").read_text())
    del config["state"]
    (folder / "site.yaml").write_text(yaml.safe_dump(config))
    assert "state is not set" in drift(folder).exception.message


# --- the history


def test_a_study_counts_once_in_whichever_month(tmp_path, monkeypatch):
    for month in ("2026-01", "2026-01", "2026-02"):
        monkeypatch.setattr(kept, "_now", lambda month=month: month)
        History(tmp_path, MODEL).add("c" * 64, "study", {"score": 0.5})
    history = History(tmp_path, MODEL)
    assert history.months == ["2026-01"]
    assert history.month("2026-01").tallies.of("study")["score"].n == 1
    history.add("d" * 64, "study", {"score": 0.7})
    assert history.month("2026-02").tallies.of("study")["score"] == Histogram.of([0.7])
    assert History(tmp_path, "b" * 64).months == []


def test_two_processes_lose_nothing_of_each_other(tmp_path):
    one, other = History(tmp_path, MODEL), History(tmp_path, MODEL)
    for place in range(6):
        (one, other)[place % 2].add(f"{place:064d}"[::-1], "slice", {"score": place / 10})
    assert History(tmp_path, MODEL).month(NOW).tallies.of("slice")["score"].n == 6
    other.add(f"{0:064d}"[::-1], "slice", {"score": 0.0})  # the first one counted it
    assert len(History(tmp_path, MODEL).month(NOW).studies) == 6


def test_it_is_for_the_owner_alone(tmp_path):
    History(tmp_path, MODEL).add("c" * 64, "slice", {"score": 0.5})
    assert stat.S_IMODE((tmp_path / "scores").stat().st_mode) == 0o700
    (file,) = (tmp_path / "scores").glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:40],
        lambda _: "[]",
        lambda text: json.dumps(json.loads(text) | {"month": "2020-01"}),
        lambda text: json.dumps(json.loads(text) | {"model": "b" * 64}),
        lambda text: json.dumps(json.loads(text) | {"tallies": {"slice": {"magic": []}}}),
        lambda text: json.dumps(json.loads(text) | {"tallies": {"slice": {"score": [[9, 3, 1]]}}}),
    ],
)
def test_a_damaged_month_is_named_and_nothing_is_counted_on(tmp_path, damage):
    History(tmp_path, MODEL).add("c" * 64, "slice", {"score": 0.5})
    (file,) = (tmp_path / "scores").glob("*.json")
    file.write_text(damage(file.read_text()))
    with pytest.raises(ResumeError, match=file.name) as caught:
        History(tmp_path, MODEL)
    assert caught.value.hint


# --- from scoring to drift


def test_what_is_scored_is_what_drift_sees(tmp_path):
    artifact = new_artifact(64)
    save_artifact(tmp_path / "model", artifact)
    save_calibration(tmp_path / "model", new_calibration(artifact, usual=tallies(normal(0, 30))))
    settings = {"name": "N", "anatomy": "x", "modality": "OT", "data": {"site": "north"}, "state": "state"}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(settings))
    for seed in range(3):
        write_png(tmp_path / f"in/{seed}.png", head((70, 60), seed))
    words = ["score", str(tmp_path / "in"), "--model", str(tmp_path / "model"), "--threads", "1"]
    site = ["--site", str(tmp_path / "site.yaml")]
    for out in ("one", "one", "two"):  # resumed, and anew
        result = CliRunner().invoke(app, [*words, *site, "--out", str(tmp_path / out)])
        assert result.exit_code == 0, result.exception
        assert "no history is kept" not in result.stderr
    (file,) = (tmp_path / "state/scores").glob("*.json")
    found = json.loads(file.read_text())
    assert len(found["studies"]) == 3
    assert set(found["tallies"]["slice"]) == {
        *("score", "brightness", "contrast", "foreground", "sharpness", "orientation", "rows", "columns")
    }
    assert sum(count for *_, count in found["tallies"]["slice"]["score"]) == 3
    assert found["tallies"]["study"] == {}
    assert not any(name in file.read_text() for name in (".png", "north", str(tmp_path)))
    assert "3 studies scored" in said(tmp_path)
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "three")])
    assert "no history is kept" in result.stderr
    assert len(json.loads(file.read_text())["studies"]) == 3
