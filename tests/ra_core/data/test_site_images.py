"""Who is kept back for calibration: half of the patients, by a hash that nobody chooses."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_core.config import PreprocessingConfig
from ra_core.data import ImageSet, Row, SiteImages
from ra_core.data.site_images import halves, is_kept_back, sets_thresholds
from ra_core.errors import TooFewImagesError


def images(*patients):
    rows = [
        Row(f"{place}.png", "x", "brain", "MR", "val", "healthy", "", patient, "", "", "", place)
        for place, patient in enumerate(patients)
    ]
    return ImageSet(rows, None, PreprocessingConfig(), None, frames={row.path: [0] for row in rows})


def patients(found):
    return {row.patient_id for row in found.rows}


@pytest.mark.parametrize("count", range(6))
def test_each_patient_is_in_one_half_with_all_images_whatever_the_order(count):
    names = [f"p{number}" for number in range(count)]
    first, second = halves(images(*names, *names))
    assert len(first) + len(second) == 2 * count
    assert not patients(first) & patients(second)
    assert [patients(half) for half in halves(images(*reversed(names)))] == [patients(first), patients(second)]


def keeping_back(*names):
    return SiteImages("x", images(), images(*names), images(), images()).kept_back()


@given(st.sets(st.text(), min_size=1, max_size=40), st.text())
def test_who_comes_or_goes_moves_nobody_else(names, other):
    """Nobody who chose a model is calibrated on later, and nobody who set a threshold tries it."""
    fixed = [f"p{number}" for number in range(8)]  # so that somebody is left
    before, after = keeping_back(*fixed, *names), keeping_back(*fixed, *(names | {other}))
    kept = {other} | patients(before.calibration)
    assert patients(before.calibration) <= patients(after.calibration) <= kept
    for one, two in zip(halves(before.calibration), halves(after.calibration), strict=True):
        assert patients(two) - {other} == patients(one) - {other}


def test_draws_are_even_and_have_nothing_to_do_with_each_other():
    names = [f"patient {number}" for number in range(2000)]
    parts = [(is_kept_back(name), sets_thresholds(name)) for name in names]
    for part in [(a, b) for a in (True, False) for b in (True, False)]:
        assert 430 < parts.count(part) < 570


def test_a_site_with_nobody_left_to_choose_a_model_is_told_so():
    names = [name for name in map(str, range(20)) if is_kept_back(name)]
    with pytest.raises(TooFewImagesError, match="no validation patient left"):
        keeping_back(*names)


def test_a_site_without_a_calibration_split_keeps_validation_patients_back():
    names = [f"p{number}" for number in range(8)]
    site = SiteImages("x", images(), images(*names), images(), images())
    kept = site.kept_back()
    assert patients(kept.calibration) == set(filter(is_kept_back, names))
    assert patients(kept.val) == set(names) - patients(kept.calibration)
    own = replace(site, calibration=images("e"))
    assert own.kept_back() is own
