import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ra_core.metrics import box_level

QUICK = {"bootstrap": 100, "confidence": 0.95, "seed": 0}
PLACES = [(slice(2, 6), slice(3, 8)), (slice(8, 12), slice(0, 4))]


def scene(seed=0, images=6):
    """Maps whose boxes are brighter, with one or two boxes each."""
    rng = np.random.default_rng(seed)
    maps = rng.random((images, 16, 16))
    boxes = [PLACES[: 1 + index % 2] for index in range(images)]
    for image, places in zip(maps, boxes, strict=True):
        for place in places:
            image[place] += rng.random() * 0.6
    return maps, boxes, [f"p{index // 2}" for index in range(images)]


def authors(image, places, place, threshold, floor=1.0):
    """Hit, precision and F1 of one box, in plain words."""
    marked = image * (image > threshold)
    outside = marked.copy()
    for each in places:
        outside[each] = 0
    inside = marked[place].sum()
    hit = int((marked[place] > 0).sum() > 0.1 * marked[place].size)
    false = math.floor(outside.sum() / max(inside, floor)) if inside or floor else 0
    precision = hit / max(hit + false, 1)
    return hit, precision, 2 * precision * hit / (precision + hit) if hit else 0.0


@pytest.mark.parametrize("threshold", [0.2, 0.9, 1.1, 1.35, 5.0])
def test_counts_are_those_of_the_authors_averaged_over_boxes(threshold):
    maps, boxes, patients = scene()
    pairs = [(image, places, place) for image, places in zip(maps, boxes, strict=True) for place in places]
    expected = np.mean([authors(*pair, threshold) for pair in pairs], axis=0)
    found = box_level(maps, boxes, patients, threshold, **QUICK)
    values = [found[name, "all"].value for name in ("box_recall", "box_precision", "box_f1")]
    assert values == pytest.approx(expected)
    free = np.mean([authors(*pair, threshold, floor=0)[2] for pair in pairs])
    assert found["box_f1_scale_free", "all"].value == pytest.approx(free)


@given(st.integers(0, 30), st.sampled_from([1e-6, 0.01, 7.0]))
def test_scale_free_numbers_do_not_change_with_the_scale(seed, scale):
    maps, boxes, patients = scene(seed)
    one, other = (box_level(maps * k, boxes, patients, 0.8 * k, **QUICK) for k in (1.0, scale))
    for name in ("box_recall", "box_f1_scale_free", "box_auroc"):
        assert other[name, "all"].value == pytest.approx(one[name, "all"].value)


def test_the_authors_f1_forgives_maps_of_small_values():
    """Why the other F1 stands beside it."""
    maps, boxes, patients = np.ones((1, 16, 16)), [PLACES[:1]], ["p"]
    large, small = (box_level(maps * k, boxes, patients, 0.0, **QUICK) for k in (100.0, 1e-4))
    assert small["box_f1", "all"].value == 1
    assert large["box_f1", "all"].value == large["box_f1_scale_free", "all"].value < 0.2
    assert small["box_f1_scale_free", "all"].value == large["box_f1_scale_free", "all"].value


def test_auroc_is_that_of_the_boxs_pixels_against_those_outside_all_boxes():
    maps, boxes, patients = scene()
    maps = np.round(maps, 1)
    values = []
    for image, places in zip(maps, boxes, strict=True):
        outside = np.ones(image.shape, bool)
        for place in places:
            outside[place] = False
        for place in places:
            pixels = [*image[place].ravel(), *image[outside]]
            values.append(roc_auc_score(np.arange(len(pixels)) < image[place].size, pixels))
    found = box_level(maps, boxes, patients, **QUICK)
    assert list(found) == [("box_auroc", "all")]
    assert found["box_auroc", "all"].value == pytest.approx(np.mean(values))


def test_counts_are_images_and_the_note_tells_boxes():
    found = box_level(*scene(), 1.0, **QUICK)["box_recall", "all"]
    assert (found.n_healthy, found.n_anomalous, found.note) == (0, 6, "9 boxes")
    assert found.ci_low <= found.value <= found.ci_high


def test_the_interval_draws_patients_with_all_their_boxes():
    maps, boxes, _ = scene(images=2)
    found = box_level(maps, boxes, ["p", "p"], 1.0, **QUICK)["box_recall", "all"]
    assert found.ci_low is None
    assert found.note == "3 boxes; no interval: fewer than 2 patients"


def test_groups_are_measured_as_if_alone():
    maps, boxes, patients = scene()
    keep = np.arange(6) >= 3
    found = box_level(maps, boxes, patients, 1.0, {"some": keep}, **QUICK)
    alone = box_level(maps[3:], boxes[3:], patients[3:], 1.0, **QUICK)
    of_group = {name: estimate for (name, group), estimate in found.items() if group == "some"}
    assert list(of_group) == ["box_f1", "box_f1_scale_free", "box_auroc"]
    for name, estimate in of_group.items():
        assert estimate == alone[name, "all"]


def test_a_box_over_the_whole_picture_has_no_auroc():
    maps, boxes = (
        np.random.default_rng(0).random((2, 4, 4)),
        [[(slice(0, 4), slice(0, 4))], [(slice(0, 2), slice(0, 2))]],
    )
    found = box_level(maps, boxes, ["a", "b"], 0.5, **QUICK)
    assert found["box_auroc", "all"].note.startswith("1 of 2 boxes have something outside")
    assert found["box_recall", "all"].value == 1


def test_bad_arguments_are_refused():
    maps, boxes, patients = scene()
    with pytest.raises(ValueError, match="for the boxes of 5 images"):
        box_level(maps, boxes[:5], patients, **QUICK)
    with pytest.raises(ValueError, match="not finite"):
        box_level(np.where(maps > 0.9, np.nan, maps), boxes, patients, **QUICK)
    with pytest.raises(ValueError, match="a box without a pixel"):
        box_level(maps, [[(slice(3, 3), slice(0, 2))]] * 6, patients, **QUICK)
