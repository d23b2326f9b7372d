"""Whether images are enough, fair and healthy: enough.py, shortcuts.py, healthy.py, text.py, check.py."""

import numpy as np
import pytest

from ra_core.config import SiteConfig, StudyConfig
from ra_core.data.checks import Code, Level, Pictures, check
from ra_core.data.checks.enough import check_enough, check_kept_back
from ra_core.data.checks.healthy import check_healthy, unlikeness
from ra_core.data.checks.shortcuts import check_shortcuts
from ra_core.data.checks.text import check_text
from ra_core.data.readers.refusal import Reason
from ra_core.data.site_images import is_kept_back, sets_thresholds

SITE = SiteConfig.model_validate({"name": "A", "anatomy": "chest", "modality": "CR", "data": {"site": "a"}})


def test_enough_is_enough(site):
    assert not list(check_enough(site.add(50, "calibration").pictures, 0.05))


def test_too_few_images_are_an_error_for_each_split(made):
    made.add(7).add(3, "val").add(1, "test").add(1, "test", "anomalous")
    train, val, threshold = check_enough(made.pictures, 0.05)
    assert [f.code for f in (train, val)] == [Code.TOO_FEW] * 2
    assert {train.level, val.level} == {Level.ERROR}
    assert "7 healthy train" in train.message
    assert (threshold.code, threshold.level) == (Code.TOO_FEW_FOR_THRESHOLD, Level.WARNING)
    assert "= 19" in threshold.message


def test_patients_count_for_the_threshold_and_those_of_calibration_where_there_are_any(made):
    made.add(40).add(100, "val").add(20, "test").add(20, "test", "anomalous").add(60, "calibration", patient="one")
    (finding,) = check_enough(made.pictures, 0.05)
    assert finding.message.startswith(f"{int(sets_thresholds('one'))} of 1 healthy patients in calibration")


@pytest.mark.parametrize(("split", "share"), [("calibration", 1 / 2), ("val", 1 / 4)])
def test_those_count_who_will_set_the_threshold(made, split, share):
    """As many as `ra-client calibrate` would find."""
    made.add(20).add(20, "val", patient="one")
    names = [f"patient {number}" for number in range(200)]
    sets = [name for name in names if sets_thresholds(name) and (split == "calibration" or is_kept_back(name))]
    assert abs(len(sets) / 200 - share) < 0.1
    for name in sets[:18] + [name for name in names if name not in sets]:
        made.add(1, split, patient=name)
    few = next(found for found in check_enough(made.pictures, 0.05) if found.code == Code.TOO_FEW_FOR_THRESHOLD)
    assert few.message.startswith("18 of")
    assert ("give about 2 more" if split == "calibration" else "give about 38 healthy patients") in few.how_to_fix
    made.add(1, split, patient=sets[18])
    assert Code.TOO_FEW_FOR_THRESHOLD not in [found.code for found in check_enough(made.pictures, 0.05)]


@pytest.mark.parametrize(("left", "level"), [(0, Level.ERROR), (3, Level.WARNING), (4, None)])
def test_a_study_with_calibration_leaves_enough_patients_to_choose_the_model(site, left, level):
    """As joining draws them: it refuses a site of which none is left."""
    names = [f"patient {number}" for number in range(40)]
    made, drawn = type(site)().add(20), [name for name in names if is_kept_back(name)]
    for name in [*drawn[:6], *[name for name in names if name not in drawn][:left]]:
        made.add(1, "val", patient=name)
    found = [(f.code, f.level) for f in check_kept_back(made.pictures)]
    assert found == ([(Code.TOO_FEW, level)] if level else [])
    message = f"{left} of {6 + left} healthy val images are left"
    asked, plain = (
        [f for f in check(made.scan, made.rows, made.pictures, SITE, study) if f.message.startswith(message)]
        for study in (StudyConfig.model_validate({"calibration": {}}), StudyConfig())
    )
    assert (len(asked), len(plain)) == (len(found), 0)
    assert not list(check_kept_back(made.add(1, "calibration").pictures))


def test_no_anomalous_test_images_are_told_and_forbid_nothing(made):
    (finding,) = check_enough(made.add(20).add(120, "val").add(5, "test").pictures, 0.05)
    assert (finding.code, finding.level) == (Code.NOT_MEASURABLE, Level.INFO)
    assert "no anomalous test images" in finding.message


def test_a_shortcut_is_named_with_its_value(site, make_anatomy):
    assert not list(check_shortcuts(site.pictures))
    rng = np.random.default_rng(1)
    for _ in range(20):
        site.add(1, "test", "anomalous", thumbnail=(make_anatomy(rng) * 0.7).astype(np.uint8))
    site.rows = [row for row in site.rows if row.label == "healthy" or row in site.rows[-20:]]
    (finding,) = check_shortcuts(site.pictures)
    assert (finding.code, finding.level) == (Code.SHORTCUT, Level.WARNING)
    assert "mean (AUROC 0.0" in finding.message
    assert "aspect" not in finding.message


def test_a_difference_between_few_images_is_no_sure_shortcut(made, make_anatomy):
    made.add(5, "test")
    for _ in range(20):
        made.add(1, "test", "anomalous", thumbnail=make_anatomy(made.rng) // 2)
    assert not list(check_shortcuts(made.pictures))
    assert not list(check_shortcuts(made.add(9, "train").pictures))


def test_the_least_typical_healthy_images_come_first_in_the_list(site, make_anatomy):
    rng = np.random.default_rng(2)
    sick = make_anatomy(rng)
    sick[14:20, 14:20] = 255
    site.add(thumbnail=sick)
    (finding,) = check_healthy(site.pictures)
    assert (finding.code, finding.level) == (Code.LEAST_TYPICAL_HEALTHY, Level.INFO)
    assert finding.files[0].path == site.rows[-1].path
    assert "anomalous" not in str(finding.files)
    assert len(finding.files) == 5  # a twentieth of 81


def test_images_of_one_patient_do_not_explain_each_other(make_anatomy):
    rng = np.random.default_rng(2)
    usual = [make_anatomy(rng) for _ in range(50)]
    odd = make_anatomy(rng)
    odd[14:20, 14:20] = 255
    x = np.stack([*usual, *[odd] * 10]).reshape(60, -1)
    one = unlikeness(x, [*map(str, range(50)), *["odd"] * 10])
    assert one[50:].min() > one[:50].max()


def test_few_healthy_images_make_no_list(made):
    assert not list(check_healthy(made.add(19).pictures))


def test_text_is_told_most_first(site):
    site.add(text=0.001).add(text=0.02)
    (finding,) = check_text(site.pictures)
    assert [mention.path for mention in finding.files] == [site.rows[-1].path, site.rows[-2].path]


def checked(site, rows=None):
    rows = site.rows if rows is None else rows
    return check(site.scan, rows, Pictures.of(site.scan, rows), SITE, StudyConfig())


def test_all_together_a_clean_site_gets_nothing_but_the_list_for_the_radiologist(site):
    (finding,) = checked(site.add(50, "calibration"))
    assert finding.code == Code.LEAST_TYPICAL_HEALTHY


def test_findings_come_worst_first_and_the_same_in_any_order_of_rows(site):
    site.refuse(9, Reason.DAMAGED).add(1, "train", digest="x").add(1, "test", digest="x", text=0.1)
    found = checked(site)
    assert found[0].code == Code.TOO_MANY_LOST
    levels = [list(Level).index(finding.level) for finding in found]
    assert levels == sorted(levels)
    assert checked(site, site.rows[::-1]) == found


def test_messages_and_advice_name_no_file_and_no_patient(site):
    site.add(2, "train", patient="Doe^Jane", key="Doe^Jane").add(2, "test", patient="Doe^Jane", digest="x", text=0.1)
    site.refuse(9, Reason.DAMAGED)
    for finding in checked(site):
        for text in (finding.message, finding.how_to_fix, repr(finding)):
            assert "Doe" not in text
            assert ".png" not in text
            assert ".dcm" not in text


@pytest.mark.parametrize("count", [0, 1, 2])
def test_next_to_nothing_is_checked_without_a_crash(made, count):
    made.add(count)
    codes = {finding.code for finding in checked(made)}
    assert Code.TOO_FEW in codes
    assert (Code.NOTHING_READ in codes) == (count == 0)
