import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scorable import head

from ra_core.calibration.traits import mean_picture, traits, uprightness
from ra_core.calibration.watching import Tallies, compare, holm
from ra_core.data.checks.outliers import TURNS
from ra_core.data.checks.pictures import unit
from ra_core.data.scan.plain import thumbnail
from ra_core.thresholds import Histogram

chances = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(chances)
def test_holm_is_at_least_the_chance_and_keeps_the_order(p):
    adjusted = holm(p)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))
    assert all(0 <= a <= 1 for a in adjusted)
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)
    assert adjusted[int(order[0])] == min(1, len(p) * min(p))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_tallies_grow_one_by_one_to_the_histogram_of_all(values):
    found = Tallies()
    for value in values:
        found = found.plus("study", {"score": value, "rows": 1.0})
    assert found.of("study") == {"score": Histogram.of(values), "rows": Histogram.of(np.ones(len(values)))}
    assert found.of("slice") == {}


@pytest.mark.parametrize("numbers", [{"score": -1.0}, {"score": float("nan")}, {"age": 1.0}])
def test_what_can_not_be_counted_is_refused(numbers):
    with pytest.raises(ValueError):  # noqa: PT011 - of pydantic or ours
        Tallies().plus("slice", numbers)


def test_only_what_both_have_is_compared():
    one = Tallies().plus("slice", {"score": 0.5, "rows": 3.0}).plus("study", {"score": 0.5})
    other = Tallies().plus("slice", {"score": 0.5, "spacing": 1.0})
    assert [(found.unit, found.name) for found in compare(one, other)] == [("slice", "score")]


def test_what_is_sure_but_tiny_has_not_moved():
    rng = np.random.default_rng(0)
    before, after = (
        Tallies(slice={"score": Histogram.of(rng.normal(1 + shift, 0.1, 20000)).cells}) for shift in (0, 0.01)
    )
    (found,) = compare(before, after)
    assert found.p < 1e-6
    assert not found.moved


def lopsided():
    """A head whose upper left quarter is bright."""
    picture = head((64, 64)).astype(np.float32) / 4000
    picture[:32, :24] += 0.5
    return picture.clip(0, 1)


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS.keys())
def test_a_picture_laid_wrongly_is_less_upright(turn):
    usual = thumbnail(lopsided())
    assert uprightness(usual, usual) > 1
    assert uprightness(np.ascontiguousarray(turn(usual)), usual) < 1
    assert uprightness(255 - usual, usual) < 1


def test_a_constant_picture_lies_no_way():
    flat = np.full((32, 32), 7, np.uint8)
    assert uprightness(flat, thumbnail(lopsided())) == 1
    assert not mean_picture(unit(flat.reshape(1, -1)).sum(axis=0)).any()


def test_the_mean_of_one_picture_looks_like_it():
    small = thumbnail(lopsided())
    found = mean_picture(unit(small.reshape(1, -1)).sum(axis=0))
    assert np.corrcoef(found.ravel(), small.ravel())[0, 1] > 0.999


def test_traits_are_plain_numbers_of_the_image_and_its_grid():
    image = np.zeros((32, 32), np.float32)
    image[:, 16:] = 0.5
    found = traits(image, (70, 60), (0.25, 1.0))
    assert found["brightness"] == found["contrast"] == 0.25
    assert found["foreground"] == 0.5
    assert (found["rows"], found["columns"], found["spacing"]) == (70, 60, 0.5)
    assert "spacing" not in traits(image, (70, 60), None)
