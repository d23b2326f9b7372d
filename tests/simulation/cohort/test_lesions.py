import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.cohort.anatomy import draw_anatomy, load_atlas
from simulation.cohort.appearance import CONTRASTS, draw_scanner, paint
from simulation.cohort.config import HospitalConfig
from simulation.cohort.lesions import KINDS, STRENGTHS, draw_lesion


def _draw(contrast, kind, strength, seed):
    rng = np.random.default_rng(seed)
    anatomy = draw_anatomy(load_atlas(), 128, rng)
    scanner = draw_scanner(HospitalConfig(name="h", contrast=contrast), 128, rng)
    clean = paint(anatomy, scanner, rng)
    sick, lesion = draw_lesion(clean, anatomy, rng, kind=kind, strength=strength, fluid=float(scanner.greys[0]))
    return anatomy, clean, sick, lesion


@settings(deadline=None, max_examples=60)
@given(
    contrast=st.sampled_from(sorted(CONTRASTS)),
    kind=st.sampled_from(sorted(set(KINDS) - {"mass"})),
    strength=st.sampled_from(sorted(STRENGTHS)),
    seed=st.integers(0, 2**32),
)
def test_mask_is_exactly_where_the_image_changed(contrast, kind, strength, seed):
    anatomy, clean, sick, lesion = _draw(contrast, kind, strength, seed)
    changed = sick != clean
    assert lesion.mask.any()
    assert not changed[~lesion.mask].any()
    assert changed[lesion.mask].mean() > 0.95  # a ring's wall meets its core where nothing changes
    assert (anatomy.outside_mm[lesion.mask] < 0).all()
    assert sick.dtype == np.float64


@settings(deadline=None, max_examples=20)
@given(contrast=st.sampled_from(sorted(CONTRASTS)), seed=st.integers(0, 2**32))
def test_mass_changes_its_core_and_pushes_only_the_brain(contrast, seed):
    anatomy, clean, sick, lesion = _draw(contrast, "mass", "strong", seed)
    changed = sick != clean
    assert changed[lesion.mask].mean() > 0.95
    assert changed.sum() > lesion.mask.sum()
    assert not changed[anatomy.outside_mm >= 0].any()
    assert (anatomy.outside_mm[lesion.mask] < 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_strengths_go_from_obvious_to_subtle(kind):
    changes = []
    for strength in ("subtle", "medium", "strong"):
        _, clean, sick, lesion = _draw("flair", kind, strength, 7)
        changes.append(np.abs(sick - clean)[lesion.mask].mean())
    assert 0 < changes[0] < changes[1] < changes[2]


def test_description_and_area_agree_with_the_mask():
    anatomy, _, _, lesion = _draw("t1", "ring", "subtle", 1)
    assert lesion.area_cm2 == pytest.approx(lesion.mask.sum() * anatomy.spacing_mm**2 / 100)
    assert lesion.description == f"ring, subtle, {lesion.area_cm2:.1f} cm2"


def test_bright_is_brighter_dark_is_darker_missing_is_fluid():
    for kind, sign in (("bright", 1), ("dark", -1), ("missing", -1)):
        _, clean, sick, lesion = _draw("t1", kind, "strong", 2)
        assert np.sign((sick - clean)[lesion.mask].mean()) == sign
