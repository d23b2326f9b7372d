import json
import stat
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scorable import new_calibration, promised

from ra_core.calibration import load_calibration, save_calibration
from ra_core.calibration.watching import Tallies
from ra_core.config import PreprocessingConfig
from ra_core.errors import ArtifactError
from ra_core.hashing import tensor_digest
from ra_core.scoring import HealthyMoments, ScoringConfig
from ra_core.storage import load_tensors, save_tensors
from ra_core.thresholds import Histogram, Promise
from ra_core.thresholds.record import Achieved
from ra_core.words import percent

PLAIN = ScoringConfig(name="plain", factors=("residual",))
STANDARDISED = ScoringConfig(name="standardised", factors=("residual",), standardise=True)
TRIED = Achieved(threshold=0.7, above=1, n=12, low=0.002, high=0.38)
UNGUARANTEED = {"low": None, "high": None, "note": "no finite-sample guarantee"}
CARD = SimpleNamespace(model_hash="a" * 64, preprocessing=PreprocessingConfig(size=32))


@pytest.fixture(scope="module")
def calibration():
    healthy = HealthyMoments().add(np.random.default_rng(0).random((4, 32, 32))).statistics(np.ones((32, 32)))
    return new_calibration(
        SimpleNamespace(card=CARD),
        image=0.5,
        pixel=1.5,
        scoring=STANDARDISED,
        healthy=healthy,
        perceptual=("alex", "none"),
        study=promised("study", 0.7, way="shrunken", low=None, high=None, achieved=TRIED, note="x"),
        usual=Tallies(slice={"score": Histogram.of([0.1, 0.2]).cells}),
        mean_picture=np.arange(1024, dtype=np.uint8).reshape(32, 32),
    )


@pytest.fixture
def folder(calibration, tmp_path):
    save_calibration(tmp_path / "calibration", calibration)
    return tmp_path / "calibration"


def edit(folder, **changes):
    path = folder / "calibration.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_statistics(folder, change, *, hash_too=True):
    path = folder / "healthy.safetensors"
    tensors = change(load_tensors(path)[0])
    save_tensors(path, tensors, {})
    if hash_too:
        edit(folder, healthy_hash=tensor_digest(tensors))


def refused(folder, name, *reasons, card=CARD):
    with pytest.raises(ArtifactError) as caught:
        load_calibration(folder, card)
    message = caught.value.message
    assert message.startswith(str(folder / name))
    assert all(reason in message for reason in reasons), message
    assert "\n" not in message
    assert caught.value.hint


def same(a, b):
    arrays = [(c.healthy.mean, c.healthy.spread, c.healthy.inside) if c.healthy else () for c in (a, b)]
    assert replace(a, healthy=None, mean_picture=None) == replace(b, healthy=None, mean_picture=None)
    assert np.array_equal(a.mean_picture, b.mean_picture)
    assert len(arrays[0]) == len(arrays[1])
    assert all(np.array_equal(x, y) for x, y in zip(*arrays, strict=True))


def test_a_calibration_read_back_is_the_same(calibration, folder):
    same(load_calibration(folder, CARD), calibration)
    assert sorted(p.name for p in folder.iterdir()) == ["calibration.json", "healthy.safetensors"]


def test_equal_calibrations_give_equal_files(calibration, folder, tmp_path):
    save_calibration(tmp_path / "again", calibration)
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_plain_scoring_has_no_statistics_and_leaves_none_behind(calibration, folder):
    plain = replace(calibration, scoring=PLAIN, healthy=None)
    save_calibration(folder, plain)
    assert [p.name for p in folder.iterdir()] == ["calibration.json"]
    same(load_calibration(folder, CARD), plain)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"healthy": None}, "healthy_hash"),
        ({"scoring": PLAIN}, "healthy_hash"),
        ({"pixel": Promise(value=-1, rate=0.05, unit="pixel", n=9)}, "the pixel threshold is negative"),
        ({"pixel": Promise(value=None, rate=0.05, unit="pixel", n=9)}, "no pixel threshold"),
        ({"slice": promised("slice", -0.1)}, "the slice threshold is negative"),
        ({"slice": promised("study", 0.1)}, "the slice threshold is one of study"),
        ({"pictures": (3, 2)}, "out of order"),
        ({"site": "../x"}, "site"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(calibration, tmp_path, changes, reason):
    with pytest.raises(ValueError, match=reason):
        save_calibration(tmp_path / "calibration", replace(calibration, **changes))
    assert not (tmp_path / "calibration").exists()


def test_it_is_for_the_owner_alone(folder):
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_calibration_of_another_model_is_refused(folder):
    other = SimpleNamespace(model_hash="b" * 64, preprocessing=CARD.preprocessing)
    refused(folder, "calibration.json", "another model", card=other)


def test_a_calibration_for_images_of_another_size_is_refused(folder):
    other = SimpleNamespace(model_hash=CARD.model_hash, preprocessing=PreprocessingConfig(size=64))
    refused(folder, "healthy.safetensors", "(32, 32), not torch.float64 (64, 64)", card=other)


@pytest.mark.parametrize("name", ["calibration.json", "healthy.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, name, "FileNotFoundError")


@pytest.mark.parametrize("name", ["calibration.json", "healthy.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04\x95cposix\nsystem\n", b"\xff" * 64, b"{}", b"[]"])
def test_garbage_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    refused(folder, name)


@pytest.mark.parametrize("share", [0.1, 0.99])
def test_half_a_file_is_refused(folder, share):
    whole = (folder / "healthy.safetensors").read_bytes()
    (folder / "healthy.safetensors").write_bytes(whole[: int(share * len(whole))])
    refused(folder, "healthy.safetensors", "damaged")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"format": 3}, "format"),
        ({"surprise": 1}, "surprise"),
        ({"pixel": {"value": "high", "rate": 0.05, "unit": "pixel", "n": 1}}, "pixel.value"),
        ({"pixel": {"value": -0.1, "rate": 0.05, "unit": "pixel", "n": 1}}, "pixel threshold"),
        ({"slice": {"value": float("nan"), "rate": 0.05, "unit": "slice", "n": 1}}, "slice.value"),
        ({"study": {"value": float("inf"), "rate": 0.05, "unit": "study", "n": 1}}, "study.value"),
        ({"study": {"value": 1, "rate": 0.05, "unit": "study", "n": 1, "way": "guessed"}}, "study.way"),
        ({"mean_picture": "00"}, "mean_picture"),
        ({"usual": {"slice": {"age": [[1, 1, 1]]}}}, "usual.slice"),
        ({"usual": {"slice": {"score": [[2, 1, 1]]}}}, "usual.slice"),
        ({"scoring": {"name": "x", "factors": ["magic"]}}, "scoring.factors.0"),
        ({"healthy_hash": None}, "healthy_hash"),
        ({"scoring": PLAIN.model_dump(mode="json")}, "healthy_hash"),
    ],
)
def test_an_edited_calibration_is_refused_by_key(folder, changes, key):
    """A standardised scoring without statistics too: its maps would silently be unstandardised."""
    edit(folder, **changes)
    refused(folder, "calibration.json", key)


@pytest.mark.parametrize(
    "key",
    [
        "scoring",
        "site",
        "pixel",
        "slice",
        "study",
        "pictures",
        "mean_picture",
        "usual",
        "perceptual_net",
        "perceptual_hash",
        "model_hash",
        "healthy_hash",
    ],
)
def test_a_calibration_without_a_key_is_refused_by_key(folder, key):
    path = folder / "calibration.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != key}))
    refused(folder, "calibration.json", key)


@pytest.mark.parametrize("lost", ["mean", "spread", "inside"])
def test_statistics_without_a_part_are_refused(folder, lost):
    change_statistics(folder, lambda t: {name: tensor for name, tensor in t.items() if name != lost})
    refused(folder, "healthy.safetensors", f"'{lost}' is missing")


def test_other_statistics_than_the_ones_described_are_refused(folder):
    change_statistics(folder, lambda t: t | {"mean": t["mean"] + 1}, hash_too=False)
    refused(folder, "healthy.safetensors", "wrong hash")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.bfloat16(), "torch.bfloat16 (32, 32), not torch.float64"),
        (lambda t: t[:16].clone(), "torch.float64 (16, 32), not torch.float64 (32, 32)"),
        (lambda t: torch.full_like(t, torch.nan), "'mean' is not finite"),
        (lambda t: -t, "'spread' is negative"),
    ],
)
def test_statistics_that_are_unfit_are_refused_though_their_hash_is_right(folder, change, reason):
    change_statistics(folder, lambda t: t | {name: change(t[name]) for name in ("mean", "spread")})
    refused(folder, "healthy.safetensors", reason)


def test_statistics_of_no_pixel_are_refused(folder):
    change_statistics(folder, lambda t: t | {"inside": t["inside"] & False})
    refused(folder, "healthy.safetensors", "'inside' is empty")
    change_statistics(folder, lambda t: t | {"inside": t["mean"] + 1})
    refused(folder, "healthy.safetensors", "'inside' is torch.float64 (32, 32), not torch.bool (32, 32)")


def test_an_unknown_tensor_is_refused(folder):
    change_statistics(folder, lambda t: t | {"extra": t["mean"] + 1})
    refused(folder, "healthy.safetensors", "'extra' doesn't belong there")


# --- what a reader of a decision is told


@pytest.mark.parametrize(
    ("threshold", "sentence"),
    [
        (
            promised("slice", 0.5),
            "calibrated on 40 healthy patients of north, asked 5 %, expected range 1 % to 13 %",
        ),
        (
            promised("study", 0.5, 12, way="shrunken", achieved=TRIED, **UNGUARANTEED),
            "calibrated on 12 healthy patients of north, asked 5 %, "
            "shrunken, measured 1 of 12: no finite-sample guarantee",
        ),
        (
            promised("study", 0.5, 12, way="shrunken", **UNGUARANTEED),
            "calibrated on 12 healthy patients of north, asked 5 %, shrunken, not tried: no finite-sample guarantee",
        ),
        (
            promised("slice", 0.5, 300, way="pooled", rate=0.125, **UNGUARANTEED),
            "calibrated on 300 healthy patients of the consortium, asked 12.5 %, "
            "pooled, not tried: no finite-sample guarantee",
        ),
        (
            promised("slice", 0.5, low=None, high=None, note="nothing is promised"),
            "calibrated on 40 healthy patients of north, asked 5 %, nothing is promised",
        ),
        (promised("slice", None), "no decision: not enough patients: 4 of 19 needed"),
    ],
)
def test_a_threshold_says_what_it_promises(threshold, sentence):
    assert threshold.told("north") == sentence


def test_more_pictures_than_any_patient_had_are_told(calibration):
    assert calibration.told(volume=True, pictures=9) == calibration.told(volume=True)
    assert calibration.told(volume=True, pictures=10).endswith(
        "; careful: 10 pictures, and no patient behind the threshold had more than 9"
    )
    assert "careful" not in calibration.told(volume=False, pictures=99)
    undecided = replace(calibration, study=promised("study", None))
    assert "careful" not in undecided.told(volume=True, pictures=99)


@pytest.mark.parametrize(("share", "text"), [(0.05, "5 %"), (0.001, "0.1 %"), (0.126, "13 %"), (1.0, "100 %")])
def test_a_share_is_written_as_people_say_it(share, text):
    assert percent(share) == text
