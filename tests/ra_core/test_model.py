import itertools
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scorable import (
    CPU,
    PLAIN,
    as_nifti,
    ball,
    blur_model,
    head,
    heads,
    new_artifact,
    new_calibration,
    promised,
    ramp,
    write_dicom,
    write_nifti,
    write_png,
    write_series,
)

import ra_core
from ra_core.artifact import save_artifact
from ra_core.calibration import save_calibration
from ra_core.calibration.watching import Tallies
from ra_core.config import LimitsConfig
from ra_core.data import load_image
from ra_core.data.readers.refusal import Reason
from ra_core.errors import ArtifactError, ConfigError, DataError, WeightsError
from ra_core.model import UNCALIBRATED, load
from ra_core.scoring import HealthyStatistics, Scorer, ScoringConfig, image_scores
from ra_core.site_scorer import SiteScorer
from ra_core.thresholds import Histogram

USUAL = Tallies(slice={"score": Histogram.of([0.1]).cells})
STANDARDISED = ScoringConfig(name="s", factors=("residual",), smooth=1.0, standardise=True, pool="top")


@pytest.fixture(scope="module")
def artifact():
    return new_artifact(32)


@pytest.fixture
def model_folder(artifact, tmp_path):
    save_artifact(tmp_path / "model", artifact)
    return tmp_path / "model"


@pytest.fixture(scope="module")
def model():
    return blur_model()


def code_of(caught):
    return caught.value.code


# --- loading


def test_importing_the_package_is_cheap():
    code = "import sys, ra_core; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 - our own
    assert ra_core.load is load
    with pytest.raises(AttributeError):
        ra_core.nothing  # noqa: B018


def test_without_a_calibration_there_is_a_score_and_no_decision(model_folder):
    result = ra_core.load(model_folder).score(head((40, 50)))
    assert result.score > 0
    assert result.decision is None
    assert result.decision_note == "no decision: the model came without a calibration of this site"
    assert not UNCALIBRATED.standardise
    assert not UNCALIBRATED.is_perceptual


def test_a_device_that_is_not_there_is_told_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="device 'cuda' is not available"):
        load(tmp_path / "no model", device="cuda")


def test_a_calibration_lies_beside_the_model_or_is_named(model_folder, artifact, tmp_path):
    save_calibration(tmp_path / "site", new_calibration(artifact, image=1e9))
    save_calibration(model_folder, new_calibration(artifact, image=0.0))
    picture = head((40, 50))
    assert load(str(model_folder)).score(picture).decision is True
    assert load(model_folder, calibration=tmp_path / "site").score(picture).decision is False
    assert load(model_folder).identity != load(model_folder, calibration=tmp_path / "site").identity


def test_another_models_calibration_is_refused(model_folder, tmp_path):
    save_calibration(tmp_path, new_calibration(new_artifact(64)))
    with pytest.raises(ArtifactError, match="another model"):
        load(model_folder, calibration=tmp_path)
    with pytest.raises(ArtifactError):
        load(model_folder, calibration=tmp_path / "nowhere")


def test_another_perceptual_network_than_the_calibrations_is_refused(model_folder, artifact, tmp_path):
    import torchvision

    weights = {f"features.{k}": v for k, v in torchvision.models.alexnet(weights=None).features.state_dict().items()}
    torch.save(weights, tmp_path / "alex.pth")
    scoring = ScoringConfig(name="p", factors=("perceptual",))
    save_calibration(model_folder, new_calibration(artifact, scoring=scoring, perceptual=("alex", "0" * 64)))
    with pytest.raises(WeightsError, match="not the one"):
        load(model_folder, weights=tmp_path / "alex.pth")


def test_the_examples_of_the_docs_run(model_folder, artifact, tmp_path, monkeypatch, capsys):
    page = Path(__file__).resolve().parents[2] / "docs/scoring.md"
    save_calibration(tmp_path / "calibration", new_calibration(artifact))
    write_dicom(tmp_path / "scan.dcm", head((70, 60)))
    write_series(tmp_path / "series", heads(3))
    write_nifti(tmp_path / "head.nii.gz", as_nifti(heads(3)))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names = {}
    for block in blocks:
        exec(block, names)  # noqa: S102 - our own page
    assert capsys.readouterr().out.endswith("True\n{}\n")


# --- scores


@pytest.mark.parametrize("scoring", [PLAIN, STANDARDISED], ids=lambda scoring: scoring.name)
def test_a_score_is_that_of_the_evaluation(model_folder, artifact, tmp_path, scoring):
    rng = np.random.default_rng(0)
    mean, spread = rng.random((2, 32, 32)) / 9
    healthy = HealthyStatistics(mean, spread, spread > 0.01) if scoring.standardise else None
    save_calibration(model_folder, new_calibration(artifact, scoring=scoring, healthy=healthy))
    path = write_png(tmp_path / "x.png", head((40, 50)))
    result = load(model_folder).score(path)
    statistics = {scoring.name: healthy} if healthy else {}
    evaluation = SiteScorer(artifact.method, Scorer(None), [scoring], statistics, CPU)
    pixels = load_image(path, artifact.card.preprocessing).pixels
    maps = evaluation.maps(torch.from_numpy(pixels[None]))[scoring.name]
    assert result.score == image_scores(maps, scoring)[0]
    assert np.array_equal(result.small[0], maps[0, 0].numpy())
    assert result.map.shape == (40, 50)


def test_formats_arrays_and_batch_sizes_agree(artifact, tmp_path):
    """The same pixels, whatever they come as: within 1e-3 of the 99th percentile of healthy validation scores."""
    real = ra_core.model.Model(artifact, None, None, CPU, LimitsConfig())
    volume = heads(10, (48, 40))
    write_series(tmp_path / "series", volume)
    nifti = write_nifti(tmp_path / "v.nii.gz", as_nifti(volume))
    found = [
        real.score(what, batch_size=size).slice_scores
        for what, size in itertools.product(
            (tmp_path / "series", nifti, volume, volume.astype(float) * 3 - 7), (1, 3, 8)
        )
    ]
    for place, pixels in enumerate(volume):
        png = write_png(tmp_path / f"{place}.png", pixels)
        dicom = write_dicom(tmp_path / f"{place}.dcm", pixels)
        singles = [real.score(path).score for path in (png, dicom)] + [real.score(pixels).score]
        found += [tuple(scores if i == place else found[0][i] for i in range(10)) for scores in singles]
    tolerance = 1e-3 * np.quantile(found[0], 0.99)
    assert np.ptp(np.array(found), axis=0).max() <= tolerance


def test_a_volume_has_the_score_of_its_highest_slice(model, tmp_path):
    volume = heads(4)
    volume[2][ball((70, 60), (35, 30), 3)] = 4000
    result = model.score(volume)
    singles = [model.score(picture).score for picture in volume]
    assert result.slice_scores == pytest.approx(singles)
    assert result.score == max(result.slice_scores)
    assert result.ranked[0] == int(np.argmax(singles))
    assert result.map.shape == volume.shape
    assert np.array_equal(result.map[2], result.slice_map(2))
    assert np.unravel_index(result.map.argmax(), volume.shape)[0] == 2


def test_a_picture_is_judged_by_the_threshold_of_slices_and_a_volume_by_that_of_studies():
    volume = heads(3)
    scores = sorted(blur_model().score(volume).slice_scores)
    between = {"study": promised("study", sum(scores[1:]) / 2)}
    result = blur_model(image=1e9, kept=between).score(volume)
    assert (result.decision, result.threshold) == (True, sum(scores[1:]) / 2)
    assert blur_model(image=1e9, kept=between).score(volume[0]).decision is False
    assert blur_model(image=0.0, kept={"study": promised("study", scores[2])}).score(volume).decision is False
    assert blur_model(image=0.0, kept=between).score(volume[0]).decision is True


def test_without_a_threshold_there_is_no_decision_and_the_reason():
    model = blur_model(kept={"study": promised("study", None)})
    result = model.score(heads(3))
    assert (result.decision, result.threshold) == (None, None)
    assert result.decision_note == "no decision: not enough patients: 4 of 19 needed"
    assert model.score(head((70, 60))).decision is True


def test_a_volume_with_more_slices_than_the_calibration_knew_is_told():
    model = blur_model(kept={"pictures": (1, 2)})
    assert "careful: 3 pictures" in model.score(heads(3)).decision_note
    assert "careful" not in model.score(heads(2)).decision_note


def test_another_threshold_of_any_kind_is_another_identity():
    kinds = ({}, {"slice": promised("slice", 0.3)}, {"study": promised("study", 0.3)}, {"usual": USUAL})
    assert len({blur_model(kept=kept).identity for kept in kinds}) == 4


def test_the_traits_are_those_of_the_pictures():
    volume = heads(3)
    result = blur_model().score(volume, spacing=(0.5, 0.5))
    assert (result.traits["rows"], result.traits["columns"]) == (70, 60)
    assert result.traits["spacing"] == pytest.approx(0.5 * 70 / 64)
    singles = [blur_model().score(picture).traits["brightness"] for picture in volume]
    assert result.traits["brightness"] == pytest.approx(np.mean(singles))
    assert "spacing" not in blur_model().score(volume).traits
    assert blur_model(calibrated=False).score(volume).traits == {}


def test_unfit_slices_are_left_out_with_their_reason(model, tmp_path):
    volume = np.stack(
        [np.zeros((70, 60), np.uint16), head((70, 60)), head((70, 60), 1), np.full((70, 60), 7, np.uint16)]
    )
    paths = write_series(tmp_path / "s", volume)
    paths[2].write_bytes(paths[2].read_bytes()[:-50])
    with pytest.raises(DataError) as caught:
        model.score(tmp_path / "s")
    assert code_of(caught) == Reason.TRUNCATED
    result = model.score(paths)
    assert result.reasons == {0: Reason.EMPTY_SLICE, 2: Reason.TRUNCATED, 3: Reason.EMPTY_SLICE}
    assert [score is None for score in result.slice_scores] == [True, False, True, True]
    assert not result.map[[0, 2, 3]].any()
    assert result.map[1].any()


def test_only_the_range_of_slices_that_the_model_knows_is_scored(tmp_path):
    model = blur_model(slices=(0.5, 1.0))
    write_series(tmp_path, heads(6))
    result = model.score(tmp_path)
    assert [score is None for score in result.slice_scores] == [True] * 3 + [False] * 3
    assert result.reasons == {}


def test_slices_in_another_plane_are_refused(tmp_path):
    model = blur_model(plane="coronal")
    write_series(tmp_path, heads(3))
    with pytest.raises(DataError) as caught:
        model.score(tmp_path)
    assert code_of(caught) == Reason.WRONG_PLANE


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros((40, 40)), Reason.CONSTANT_IMAGE),
        (np.full((2, 40, 40), np.nan), Reason.NOT_FINITE),
        (np.zeros(40), Reason.UNSUPPORTED_CONTENT),
        (np.zeros((0, 40)), Reason.UNSUPPORTED_CONTENT),
        (np.zeros((40, 40), complex), Reason.UNSUPPORTED_CONTENT),
        (np.array([[None] * 40] * 40), Reason.UNSUPPORTED_CONTENT),
    ],
)
def test_an_unfit_array_says_why(model, array, code):
    with pytest.raises(DataError) as caught:
        model.score(array)
    assert code_of(caught) == code


def test_a_folder_of_several_studies_is_not_one(model, tmp_path):
    for name in "ab":
        write_png(tmp_path / f"{name}.png", head((40, 40)))
    with pytest.raises(DataError, match="2 studies"):
        model.score(tmp_path)


def test_what_is_no_image_is_passed_by_in_a_folder(model, tmp_path):
    write_series(tmp_path, heads(3))
    (tmp_path / "note.txt").write_text("bring this to the third floor")
    (tmp_path / ".DS_Store").write_bytes(bytes(9))
    assert model.score(tmp_path).map.shape == (3, 70, 60)


def test_pixels_that_are_not_square_come_back_on_their_own_grid(model):
    picture = ramp((40, 80))
    picture[ball((40, 80), (12, 50), 1.5)] = 4000
    result = model.score(picture, spacing=(2.0, 1.0))
    assert result.map.shape == (40, 80)
    assert np.abs(np.subtract(np.unravel_index(result.map.argmax(), (40, 80)), (12, 50))).max() <= 2


# --- where the map lies


def turned(order, flips, spacing, tilt):
    """An affine with stored axes in any order and direction, and turned about all of them by `tilt` degrees."""
    matrix = np.zeros((3, 3))
    for stored, (body, flip) in enumerate(zip(order, flips, strict=True)):
        matrix[body, stored] = flip * spacing[stored]
    angle = np.deg2rad(tilt)
    for a, b in ((0, 1), (1, 2), (0, 2)):
        turn = np.eye(3)
        turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        matrix = turn @ matrix
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, (-31, 17, 5)
    return affine


NAMED = {
    "RAS": ((0, 1, 2), (1, 1, 1)),
    "LPS": ((0, 1, 2), (-1, -1, 1)),
    "PSR": ((1, 2, 0), (-1, 1, 1)),
    "AIL": ((1, 2, 0), (1, -1, -1)),
}


def peak_lies_where_the_ball_lies(folder, affine, plane):
    from client.score.nifti_output import nifti_map

    shape, model = (44, 48, 40), blur_model(plane=plane)
    at = np.array((20, 27, 15))
    voxels = ramp(shape)
    voxels[ball(shape, at, 1.5)] = 4000
    path = write_nifti(folder / "in.nii.gz", voxels, affine)
    result = model.score(path)
    (folder / "map.nii.gz").write_bytes(nifti_map(path, result, model.terms.reading, model.scale))
    found = nib.load(folder / "map.nii.gz")
    values = found.get_fdata()
    assert values.shape == shape
    assert np.allclose(found.affine, affine, atol=1e-4)
    assert values.max() == pytest.approx(result.map.max())
    peak = np.unravel_index(values.argmax(), shape)
    distance = np.linalg.norm((found.affine @ (*peak, 1))[:3] - (affine @ (*at, 1))[:3])
    assert distance <= 2 * np.linalg.norm(affine[:3, :3], axis=0).max()


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("axes", NAMED)
def test_a_bright_spot_lies_under_the_maps_maximum(tmp_path, axes, plane):
    peak_lies_where_the_ball_lies(tmp_path, turned(*NAMED[axes], (1, 1, 1), 0), plane)


@settings(max_examples=8, deadline=None)
@given(
    order=st.permutations(range(3)),
    flips=st.tuples(*[st.sampled_from((-1, 1))] * 3),
    spacing=st.tuples(*[st.sampled_from((0.8, 1.0, 1.5))] * 3),
    tilt=st.floats(-18, 18),
    plane=st.sampled_from(("axial", "coronal", "sagittal")),
)
def test_so_it_does_in_oblique_grids_of_any_order(tmp_path_factory, order, flips, spacing, tilt, plane):
    peak_lies_where_the_ball_lies(tmp_path_factory.mktemp("oblique"), turned(order, flips, spacing, tilt), plane)
