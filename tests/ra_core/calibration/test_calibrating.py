from dataclasses import replace

import numpy as np
import pytest
import torch

from ra_core.calibration.calibrating import CHOSE_TOO, own_calibration
from ra_core.calibration.measured import MAPS, measure
from ra_core.config import EvaluationConfig
from ra_core.data import ImageSet, Manifest, SiteImages
from ra_core.models.registry import build_method
from ra_core.scoring import SCORINGS, Scorer
from ra_core.site_scorer import SiteScorer, batches
from ra_core.thresholds import conformal_threshold, patient_scores, pixel_threshold

CPU = torch.device("cpu")
PLAIN = next(scoring for scoring in SCORINGS if scoring.name == "residual")
STANDARDISED = next(scoring for scoring in SCORINGS if scoring.name == "standardised_residual")
CONFIG = EvaluationConfig(image_fpr=0.3, pixel_fpr=0.2, batch_size=3)


@pytest.fixture(scope="module")
def images(site_root, tiny_study):
    """The healthy test images play those of calibration."""
    manifest = Manifest.load(site_root / "manifest.csv", site_root)
    train, val, test = (
        ImageSet(manifest.select(split=split), site_root, tiny_study.preprocessing, None)
        for split in ("train", "val", "test")
    )
    healthy = test.of_patients(lambda patient: "healthy" in patient)
    return SiteImages("discs", train, val, test, healthy)


@pytest.fixture(scope="module")
def scorer(images, tiny_study):
    method = build_method(tiny_study.method, 64, 0)
    return SiteScorer.fit(method, Scorer(None), [PLAIN, STANDARDISED], batches(images.train, 8), CPU)


def own(scorer, images, scoring=PLAIN):
    return own_calibration("discs", scorer, scoring, images, CONFIG, "alex", "a" * 64)


@pytest.mark.parametrize("scoring", [PLAIN, STANDARDISED], ids=lambda scoring: scoring.name)
def test_thresholds_come_from_calibration_images_where_there_are_any(scorer, images, scoring):
    found = own(scorer, images, scoring)
    x = images.calibration.images(range(6))
    scores, maps = scorer.scores([x])[scoring.name], scorer.maps(x)[scoring.name][:, 0].numpy()
    expected = conformal_threshold(scores, 0.3, "slice")
    assert found.slice.value == pytest.approx(expected.value, rel=1e-5)
    assert (found.slice.n, found.slice.low, found.slice.high) == (6, expected.low, expected.high)
    assert found.study.value == found.slice.value
    pixels = pixel_threshold(list(maps), [str(place) for place in range(6)], 0.2)
    assert found.flagged_above == pytest.approx(pixels.value, rel=1e-5)
    assert found.healthy is scorer.healthy.get(scoring.name)
    assert (found.site, found.pictures, found.perceptual_hash) == ("discs", (1, 1), "")
    assert found.usual.of("slice")["rows"].n == 6
    assert found.usual.of("slice") == found.usual.of("study")


def test_images_that_chose_the_scoring_promise_nothing(scorer, images):
    found = own(scorer, replace(images, calibration=images.calibration.of_patients(lambda _: False)))
    highest = scorer.scores([images.val.images(range(5))])[PLAIN.name]
    assert found.slice.value == pytest.approx(np.sort(highest)[4], rel=1e-5)
    assert (found.slice.low, found.slice.high, found.slice.note) == (None, None, CHOSE_TOO)
    assert found.pixel.note == CHOSE_TOO
    assert found.slice.told("discs").endswith(f"asked 30 %, {CHOSE_TOO}")


def test_too_few_of_them_give_no_threshold(scorer, images):
    few = images.calibration.of_patients({row.patient_id for row in images.calibration.rows[:2]}.__contains__)
    found = own(scorer, replace(images, calibration=few))
    assert found.slice.value is None
    assert found.slice.told("discs") == "no decision: not enough patients: 2 of 3 needed"
    assert "nothing is promised" in found.pixel.note


# --- what is measured


class Renamed:
    """Images under the ids of other patients."""

    def __init__(self, images, patients):
        self.images, self.names, self.grids = images.images, images.names, images.grids
        self.rows = [replace(row, patient_id=patient) for row, patient in zip(images.rows, patients, strict=True)]

    def __len__(self):
        return len(self.rows)


def test_pictures_of_a_patient_count_together(scorer, images):
    patients = ["a"] * 9 + ["b", "b", "c"]
    found = measure(scorer, PLAIN, Renamed(images.train, patients), 5)
    assert found.pictures == (1, 9)
    assert np.array_equal(found.by_patient("study"), patient_scores(found.scores, patients, found.names, "study"))
    assert found.by_patient("study")[0] == found.scores[:9].max()
    tallies = found.tallies()
    assert {histogram.n for unit in ("slice", "study") for histogram in tallies.of(unit).values()} == {3}
    assert sum(place < 9 for place in found.maps) == MAPS
    assert len(found.maps) == MAPS + 3
    few = measure(scorer, PLAIN, Renamed(images.train, patients), 5, mapped="b".__eq__)
    assert {few.patients[place] for place in few.maps} == {"b"}
    assert np.array_equal(few.scores, found.scores)


def test_a_part_is_measured_as_if_alone(scorer, images):
    patients = list("aabbccddeeff")
    whole = measure(scorer, PLAIN, Renamed(images.train, patients), 12).of({"b", "e"})
    assert whole.patients == ["b", "b", "e", "e"]
    assert len(whole.maps) == 4
    alone = images.train.of_patients({images.train.rows[place].patient_id for place in (2, 3, 8, 9)}.__contains__)
    other = measure(scorer, PLAIN, Renamed(alone, list("bbee")), 12)
    assert np.allclose(whole.scores, other.scores, rtol=1e-5)
    assert all(np.allclose(whole.maps[place], other.maps[place], rtol=1e-4, atol=1e-6) for place in range(4))
    assert whole.tallies().of("study").keys() == other.tallies().of("study").keys()
