"""Thresholds of pixels: exact, promised where there are patients enough, and lean."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ra_core.thresholds import patients_needed, pixel_threshold

MAPS = st.lists(
    st.tuples(st.sampled_from("abcdefg"), arrays(np.float32, 5, elements=st.floats(0, 1e6, width=32))), min_size=1
)


def sorted_out(maps, patients, rate):
    """By sorting all pixels with weights."""
    weights = {patient: 1 / (5 * patients.count(patient)) for patient in patients}
    of_maps = zip(maps, patients, strict=True)
    pixels = sorted((value, weights[patient]) for found, patient in of_maps for value in found.tolist())
    wanted = (1 - rate) * (len(weights) + (len(weights) >= patients_needed(rate))) - 1e-9
    reached = np.cumsum([weight for _, weight in pixels])
    return pixels[min(int(np.searchsorted(reached, wanted)), len(pixels) - 1)][0]


@given(MAPS, st.sampled_from([0.05, 0.15, 0.3, 0.55]))
def test_it_is_the_lowest_pixel_that_will_do(drawn, rate):
    patients, maps = zip(*drawn, strict=True)
    found = pixel_threshold(maps, patients, rate)
    assert found.value == sorted_out(maps, patients, rate)
    assert pixel_threshold(maps[::-1], patients[::-1], rate) == found


def test_it_needs_little_memory_beside_the_maps():
    maps = list(np.random.default_rng(0).random((40, 64, 64)).astype(np.float32))
    tracemalloc.start()
    pixel_threshold(maps, [str(place) for place in range(40)], 0.05)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < sum(found.nbytes for found in maps) / 10


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_maps_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="finite maps, at least 0"):
        pixel_threshold([np.array([1.0, bad], np.float32)], ["a"], 0.05)


def test_pixels_of_one_picture_a_patient_are_exceeded_as_asked():
    rng = np.random.default_rng(2)
    maps = rng.random((120, 32, 32)).astype(np.float32)
    found = pixel_threshold(list(maps), [str(i) for i in range(120)], 0.05)
    shares = (maps > found.value).mean((1, 2))
    assert found.note == ""
    assert shares.sum() + 1 <= 0.05 * 121 + 1e-6
    assert shares.mean() > 0.035


def test_of_pixels_every_patient_counts_the_same_however_many_pictures_there_are():
    one, other = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)
    few = pixel_threshold([one, other], ["a", "b"], 0.4)
    many = pixel_threshold([one, other, other, other], ["a", "b", "b", "b"], 0.4)
    assert few.value == many.value


def test_too_few_patients_for_pixels_are_told_and_get_the_plain_quantile():
    maps = list(np.arange(40, dtype=np.float32).reshape(4, 10))
    found = pixel_threshold(maps, list("abcd"), 0.05)
    assert (found.value, found.n, found.low) == (37.0, 4, None)
    assert "nothing is promised; not enough patients: 4 of 19 needed" in found.note


RESTS = "may rest on one patient's pixels alone: 39 patients would bear an outlier"


@pytest.mark.parametrize(
    ("n", "note", "dragged"),
    [
        (18, "a plain quantile, nothing is promised; not enough patients: 18 of 19 needed", True),
        (19, RESTS, True),
        (38, RESTS, True),
        (39, "", False),
    ],
)
def test_where_one_patient_with_high_pixels_sets_the_threshold_the_note_says_so(n, note, dragged):
    maps = [np.linspace(0, 1, 100, dtype=np.float32)] * (n - 1)
    found = pixel_threshold([*maps, np.full(100, 50, np.float32)], [str(place) for place in range(n)], 0.05)
    assert (found.note, found.value == 50) == (note, dragged)


def test_the_promise_for_pixels_holds_over_random_draws():
    rng, over = np.random.default_rng(3), []
    for _ in range(300):
        level = rng.gamma(2.0, size=41)
        maps = (rng.random((41, 64)) * level[:, None]).astype(np.float32)
        limit = pixel_threshold(list(maps[:40]), [str(i) for i in range(40)], 0.1).value
        over.append((maps[40] > limit).mean())
    assert np.mean(over) <= 0.1 + 3 * np.std(over) / np.sqrt(len(over))
