import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ra_core.data.boxes import Box
from ra_core.data.geometry import Geometry, resample, square_shape

FEW = settings(max_examples=60, deadline=None)
SHAPES = st.tuples(st.integers(2, 90), st.integers(2, 90))
SPACINGS = st.none() | st.tuples(st.floats(0.3, 3), st.floats(0.3, 3))


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((160, 60), None, (160, 60)),
        ((160, 60), (0.2, 0.2), (160, 60)),
        ((160, 60), (0.2, 0.2039), (160, 60)),
        ((160, 60), (0.2, 0.4), (160, 120)),
        ((29, 48), (3.0, 1.5), (58, 48)),
        ((1, 1), (1.0, 1.5), (1, 2)),
    ],
)
def test_pixels_become_square_at_the_finer_spacing(shape, spacing, expected) -> None:
    assert square_shape(shape, spacing) == expected


def test_resampling_averages_where_it_shrinks() -> None:
    checkers = np.indices((64, 64)).sum(0) % 2
    np.testing.assert_allclose(resample(checkers, (8, 8))[1:-1, 1:-1], 0.5, atol=0.01)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (1, 6)])
def test_the_picture_is_centred_and_an_odd_pixel_goes_below_or_to_the_right(shape: tuple[int, int]) -> None:
    x = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    y = Geometry.of(shape, None, max(shape)).to_size(x)
    top, left = ((max(shape) - n) // 2 for n in shape)
    np.testing.assert_array_equal(y[top : top + shape[0], left : left + shape[1]], x)
    assert np.count_nonzero(y) == x.size


def test_spacing_is_that_of_the_result() -> None:
    assert Geometry.of((64, 48), (1.5, 1.5), 32).spacing((1.5, 1.5)) == (3.0, 3.0)
    assert Geometry.of((160, 60), (0.2, 0.4), 32).spacing((0.2, 0.4)) == pytest.approx((1.0, 1.0))
    assert Geometry.of((64, 48), None, 32).spacing(None) is None


@FEW
@given(SHAPES, SPACINGS, st.sampled_from([32, 64, 96]), st.floats(0, 1), st.floats(0, 1))
def test_a_bright_spot_comes_back_to_its_place(shape, spacing, size: int, down: float, right: float) -> None:
    """Within a pixel and a half of the coarser of both grids."""
    geometry = Geometry.of(shape, spacing, size)
    place = np.rint([down * (shape[0] - 1), right * (shape[1] - 1)])
    spot = np.zeros(shape, np.float32)
    spot[tuple(place.astype(int))] = 1
    back = geometry.to_native(geometry.to_size(spot))
    assert back.shape == shape
    assert back.dtype == np.float32
    found = np.argwhere(back >= 0.999 * back.max()).mean(0)
    coarser = [max(1, geometry.side / size * n / m) for n, m in zip(shape, geometry.squared, strict=True)]
    assert (np.abs(found - place) <= 1.5 * np.array(coarser)).all(), (found, place)


@FEW
@given(SHAPES, SPACINGS, st.data())
def test_a_mask_is_empty_only_if_it_was(shape, spacing, data: st.DataObject) -> None:
    mask = data.draw(arrays(np.bool_, shape))
    y = Geometry.of(shape, spacing, 32).to_square(mask)
    assert y.shape == (32, 32)
    assert y.dtype == np.bool_
    assert y.any() == mask.any()


@FEW
@given(st.integers(60, 200), st.integers(60, 200), st.floats(0.25, 0.75), st.floats(0.25, 0.75), st.floats(0.5, 2))
def test_a_mask_goes_where_its_image_goes_and_comes_back(
    rows: int, columns: int, down: float, right: float, ratio: float
) -> None:
    at = np.s_[int(rows * down) - 10 : int(rows * down) + 10, int(columns * right) - 10 : int(columns * right) + 10]
    mask = np.zeros((rows, columns), dtype=np.bool_)
    mask[at] = True
    geometry = Geometry.of((rows, columns), (1.0, ratio), 64)
    image, moved = geometry.to_size(mask.astype(np.float32)), geometry.to_square(mask)
    centre = [np.average(np.indices((64, 64))[axis], weights=image) for axis in (0, 1)]
    assert np.abs(np.argwhere(moved).mean(0) - centre).max() < 0.75
    assert image[moved].mean() > 0.6
    assert image[~moved].mean() < 0.05
    back = geometry.to_native(moved.astype(np.float32)) > 0.5
    assert (back & mask).sum() > 0.5 * (back | mask).sum()


@FEW
@given(SHAPES, SPACINGS, st.sampled_from([32, 64, 96]), st.data())
def test_a_box_goes_where_its_mask_goes(shape, spacing, size: int, data: st.DataObject) -> None:
    """Within a pixel at each side (of the picture, where it is enlarged), and never to nothing."""
    ends = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in shape]
    mask = np.zeros(shape, np.bool_)
    mask[slice(*ends[0]), slice(*ends[1])] = True
    geometry = Geometry.of(shape, spacing, size)
    box = Box(left=ends[1][0], top=ends[0][0], right=ends[1][1], bottom=ends[0][1])
    ((rows, columns),) = geometry.boxes_to_square([box])
    found = np.argwhere(geometry.to_square(mask))
    pixel = max(1, size / geometry.side)
    for side, first, last in zip((rows, columns), found.min(0), found.max(0) + 1, strict=True):
        assert 0 <= side.start < side.stop <= size
        assert abs(side.start - first) <= pixel
        assert abs(side.stop - last) <= pixel


def test_a_box_in_pixels_that_are_not_square() -> None:
    """100 × 50 pixels of 1 × 2 mm are 100 × 100 square ones."""
    places = Geometry.of((100, 50), (1.0, 2.0), 50).boxes_to_square([Box(10, 10, 20, 50), Box(25.1, 99.6, 25.2, 99.7)])
    assert places == ((slice(5, 25), slice(10, 20)), (slice(49, 50), slice(25, 26)))


def test_what_of_a_box_lies_beyond_the_picture_is_cut_off() -> None:
    places = Geometry.of((20, 40), None, 40).boxes_to_square([Box(-1, -1, 4, 4), Box(36, 16, 41, 21)])
    assert places == ((slice(10, 14), slice(0, 4)), (slice(26, 30), slice(36, 40)))


def test_a_thin_line_survives_and_a_full_mask_keeps_to_its_picture() -> None:
    line = np.zeros((256, 256), dtype=np.bool_)
    line[100, 20:200] = True
    assert 15 <= Geometry.of((256, 256), None, 32).to_square(line).sum() <= 30
    full = Geometry.of((64, 32), None, 32).to_square(np.ones((64, 32), dtype=np.bool_))
    assert full.sum() == 32 * 16
    assert full[:, 8:24].all()


def test_margins_do_not_come_back() -> None:
    """What a model sees beside the picture is no part of it."""
    geometry = Geometry.of((40, 20), None, 40)
    around = np.ones((40, 40), np.float32)
    around[:, 10:30] = 0
    back = geometry.to_native(around)
    assert not back[:, 1:-1].any()
