import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ra_core.config import PreprocessingConfig
from ra_core.data.preprocess import (
    foreground,
    pad_to_square,
    preprocess,
    preprocess_mask,
    resize,
    scale_foreground,
)

CONFIG = PreprocessingConfig(size=32)
SHAPES = st.tuples(st.integers(2, 40), st.integers(2, 40))
PICTURES = arrays(np.float32, SHAPES, elements=st.integers(-1000, 3000).map(float)).filter(lambda x: x.min() < x.max())
FEW = settings(max_examples=40, deadline=None)


def ramp(rows: int, columns: int) -> NDArray[np.float32]:
    return np.linspace(0, 1, rows * columns, dtype=np.float32).reshape(rows, columns)


@FEW
@given(PICTURES)
def test_range_shape_and_type(x: NDArray[np.float32]) -> None:
    y = preprocess(x, CONFIG)
    assert y.shape == (1, 32, 32)
    assert y.dtype == np.float32
    assert y.min() >= 0
    assert 0 < y.max() <= 1


@FEW
@given(PICTURES, st.integers(-6, 6), st.integers(-2000, 2000))
def test_brightness_and_contrast_do_not_matter(x: NDArray[np.float32], power: int, offset: int) -> None:
    changed = x.astype(np.float64) * 2.0**power + offset  # exact, so that no pixel crosses a threshold by rounding
    np.testing.assert_allclose(preprocess(changed, CONFIG), preprocess(x, CONFIG), atol=1e-6)


@given(st.floats(0.01, 100), st.floats(-1000, 1000))
def test_brightness_and_contrast_do_not_matter_on_a_smooth_picture(a: float, b: float) -> None:
    x = ramp(20, 30).astype(np.float64)
    np.testing.assert_allclose(preprocess(a * x + b, CONFIG), preprocess(x, CONFIG), atol=1e-4)


@FEW
@given(PICTURES)
def test_foreground_is_never_empty_nor_everything(x: NDArray[np.float32]) -> None:
    inside = foreground(x, 0.05)
    assert inside.any()
    assert not inside.all()


def test_a_bright_marker_does_not_decide_the_foreground() -> None:
    x = np.zeros((100, 100), dtype=np.float32)
    x[20:80, 20:80] = 10
    x[:5, :5] = 1e6
    assert foreground(x, 0.05)[50, 50]
    assert not foreground(x, 0.05)[50, 5]


def test_percentiles_of_the_foreground_become_zero_and_one() -> None:
    x = np.zeros((40, 40), dtype=np.float32)
    x[10:30, 10:30] = np.linspace(100, 200, 400).reshape(20, 20)
    y = scale_foreground(x, 1, 99, 0.05)
    low, high = np.percentile(x[x > 0], (1, 99))
    inside = x > 0
    np.testing.assert_allclose(y[inside], np.clip((x[inside] - low) / (high - low), 0, 1), atol=1e-6)
    assert not y[~inside].any()


def test_a_two_level_picture_stays_one() -> None:
    x = np.array([[3, 7], [7, 3]], dtype=np.float32)
    np.testing.assert_array_equal(scale_foreground(x, 1, 99, 0.05), [[0, 1], [1, 0]])


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5)])
def test_padding_is_centred_with_the_minimum(shape: tuple[int, int]) -> None:
    x = ramp(*shape) + 2
    y = pad_to_square(x)
    side = max(shape)
    top, left = (side - shape[0]) // 2, (side - shape[1]) // 2
    np.testing.assert_array_equal(y[top : top + shape[0], left : left + shape[1]], x)
    assert y.shape == (side, side)
    assert (y == x.min()).sum() == side * side - x.size + 1


def test_resize_averages_where_it_shrinks() -> None:
    checkers = np.indices((64, 64)).sum(0) % 2
    np.testing.assert_allclose(resize(checkers.astype(np.float32), 8)[1:-1, 1:-1], 0.5, atol=0.01)


@FEW
@given(SHAPES, st.data())
def test_a_mask_is_empty_only_if_it_was(shape: tuple[int, int], data: st.DataObject) -> None:
    mask = data.draw(arrays(np.bool_, shape))
    y = preprocess_mask(mask, 32)
    assert y.shape == (32, 32)
    assert y.dtype == np.bool_
    assert y.any() == mask.any()


@FEW
@given(st.integers(60, 200), st.integers(60, 200), st.floats(0.25, 0.75), st.floats(0.25, 0.75))
def test_a_mask_goes_where_its_image_goes(rows: int, columns: int, down: float, right: float) -> None:
    at = np.s_[int(rows * down) - 10 : int(rows * down) + 10, int(columns * right) - 10 : int(columns * right) + 10]
    mask = np.zeros((rows, columns), dtype=np.bool_)
    mask[at] = True
    image, moved = preprocess(mask.astype(np.float32), CONFIG)[0], preprocess_mask(mask, 32)
    centre = [np.average(np.indices((32, 32))[axis], weights=image) for axis in (0, 1)]
    assert np.abs(np.argwhere(moved).mean(0) - centre).max() < 0.75
    assert image[moved].mean() > 0.6
    assert image[~moved].mean() < 0.05


def test_a_thin_line_survives_and_a_full_mask_keeps_to_its_picture() -> None:
    line = np.zeros((256, 256), dtype=np.bool_)
    line[100, 20:200] = True
    assert 15 <= preprocess_mask(line, 32).sum() <= 30
    full = preprocess_mask(np.ones((64, 32), dtype=np.bool_), 32)
    assert full.sum() == 32 * 16
    assert full[:, 8:24].all()
