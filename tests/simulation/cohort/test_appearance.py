import numpy as np
import pytest
from scipy import stats

from simulation.cohort.anatomy import draw_anatomy, load_atlas
from simulation.cohort.appearance import CONTRASTS, acquire, draw_scanner, paint
from simulation.cohort.config import HospitalConfig


def _scanner(contrast, **settings):
    return draw_scanner(HospitalConfig(name="h", contrast=contrast, **settings), 96, np.random.default_rng(0))


def _clean(contrast, **settings):
    anatomy = draw_anatomy(load_atlas(), 96, np.random.default_rng(3))
    return anatomy, paint(anatomy, _scanner(contrast, **settings), np.random.default_rng(4))


def _levels(contrast):
    """Mean grey of fluid, grey and white matter, where a pixel holds little else."""
    anatomy, clean = _clean(contrast, blur_mm=0)
    return [clean[(anatomy.tissues[tissue] > 0.9) & (anatomy.outside_mm < -3)].mean() for tissue in range(3)]


@pytest.mark.parametrize(
    ("contrast", "order"),
    [("t1", "fluid grey white"), ("t2", "white grey fluid"), ("flair", "fluid white grey"), ("ct", "fluid white grey")],
)
def test_contrast_orders_the_tissues(contrast, order):
    names = ["fluid", "grey", "white"]
    levels = _levels(contrast)
    assert sorted(names, key=lambda name: levels[names.index(name)]) == order.split()


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_images_are_in_range(contrast):
    _, clean = _clean(contrast)
    image = acquire(clean, _scanner(contrast), np.random.default_rng(5))
    assert image.dtype == np.float64
    assert image.min() >= 0
    assert image.max() <= 1


def test_noise_of_mr_is_rician():
    scanner = _scanner("t1", noise=0.05, bias=0)
    image = acquire(np.zeros((96, 96)), scanner, np.random.default_rng(0))
    assert image.mean() == pytest.approx(stats.rice.mean(0, scale=0.05), rel=0.03)
    assert image.std() == pytest.approx(stats.rice.std(0, scale=0.05), rel=0.03)


def test_noise_of_ct_is_normal():
    image = acquire(np.full((96, 96), 0.5), _scanner("ct", noise=0.05, bias=0), np.random.default_rng(0))
    assert image.mean() == pytest.approx(0.5, abs=0.003)
    assert image.std() == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_equal_pixels_stay_equal(contrast):
    _, clean = _clean(contrast)
    changed = clean.copy()
    changed[40:50, 40:50] += 0.2
    first, second = (acquire(image, _scanner(contrast), np.random.default_rng(5)) for image in (clean, changed))
    same = np.ones_like(clean, dtype=bool)
    same[40:50, 40:50] = False
    np.testing.assert_array_equal(first[same], second[same])
    assert (first != second)[~same].mean() > 0.9


def test_skull_stripped_shows_no_scalp():
    anatomy, clean = _clean("t1", skull_stripped=True, blur_mm=0)
    assert np.abs(clean[anatomy.outside_mm > 6]).max() < 0.02
    assert clean[anatomy.outside_mm < -5].mean() > 0.2


def test_hospitals_of_one_contrast_differ():
    hospital = HospitalConfig(name="h", contrast="t1", skull_stripped=False)
    one, other = (draw_scanner(hospital, 96, np.random.default_rng(seed)) for seed in (0, 1))
    assert (one.greys != other.greys).all()
    assert one.sensitivity.std() > 0.02
