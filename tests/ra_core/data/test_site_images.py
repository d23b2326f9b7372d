"""Who is kept back for calibration: half of the patients, by a hash that nobody chooses."""

from dataclasses import replace

import pytest

from ra_core.config import PreprocessingConfig
from ra_core.data import ImageSet, Row, SiteImages
from ra_core.data.site_images import halves


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
    assert len(patients(first)) == (count + 1) // 2
    assert [patients(half) for half in halves(images(*reversed(names)))] == [patients(first), patients(second)]


def test_a_site_without_a_calibration_split_keeps_validation_patients_back():
    site = SiteImages("x", images(), images("a", "b", "c", "d"), images(), images())
    kept = site.kept_back()
    assert patients(kept.val) | patients(kept.calibration) == {"a", "b", "c", "d"}
    assert len(kept.val) == len(kept.calibration) == 2
    own = replace(site, calibration=images("e"))
    assert own.kept_back() is own
