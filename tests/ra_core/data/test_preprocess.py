import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ra_core.config import PreprocessingConfig
from ra_core.data.geometry import Geometry
from ra_core.data.preprocess import foreground, preprocess, scale_foreground

CONFIG = PreprocessingConfig(size=32)
SHAPES = st.tuples(st.integers(2, 20), st.integers(2, 20))
PICTURES = arrays(np.float32, SHAPES, elements=st.integers(-1000, 3000).map(float)).filter(lambda x: x.min() < x.max())
FEW = settings(max_examples=40, deadline=None)


def prepared(x: NDArray[np.floating]) -> NDArray[np.float32]:
    return preprocess(x, Geometry.of(x.shape, None, CONFIG.size), CONFIG)


def ramp(rows: int, columns: int) -> NDArray[np.float32]:
    return np.linspace(0, 1, rows * columns, dtype=np.float32).reshape(rows, columns)


@FEW
@given(PICTURES)
def test_range_shape_and_type(x: NDArray[np.float32]) -> None:
    y = prepared(x)
    assert y.shape == (1, 32, 32)
    assert y.dtype == np.float32
    assert y.min() >= 0
    assert 0 < y.max() <= 1


@FEW
@given(PICTURES, st.integers(-6, 6), st.integers(-2000, 2000))
def test_brightness_and_contrast_do_not_matter(x: NDArray[np.float32], power: int, offset: int) -> None:
    changed = x.astype(np.float64) * 2.0**power + offset  # exact, so that no pixel crosses a threshold by rounding
    np.testing.assert_allclose(prepared(changed), prepared(x), atol=1e-6)


@given(st.floats(0.01, 100), st.floats(-1000, 1000))
def test_brightness_and_contrast_do_not_matter_on_a_smooth_picture(a: float, b: float) -> None:
    x = ramp(20, 30).astype(np.float64)
    np.testing.assert_allclose(prepared(a * x + b), prepared(x), atol=1e-4)


@FEW
@given(PICTURES)
def test_foreground_is_never_empty_nor_everything(x: NDArray[np.float32]) -> None:
    inside = foreground(x, 0.05)
    assert inside.any()
    assert not inside.all()


@FEW
@given(PICTURES, st.tuples(*[st.integers(0, 60)] * 4))
def test_padding_around_a_scan_does_not_matter(x: NDArray[np.float32], margins: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = margins
    padded = np.pad(x, ((top, bottom), (left, right)), constant_values=x.min())
    body = scale_foreground(padded, 1, 99, 0.05)[top : top + x.shape[0], left : left + x.shape[1]]
    np.testing.assert_array_equal(body, scale_foreground(x, 1, 99, 0.05))
    assert scale_foreground(padded, 1, 99, 0.05).sum() == pytest.approx(body.sum())


def test_a_constant_picture_has_no_foreground() -> None:
    assert not foreground(np.full((4, 4), 7.0), 0.05).any()


def test_a_bright_marker_does_not_decide_the_foreground() -> None:
    x = np.zeros((100, 100), dtype=np.float32)
    x[20:80, 20:80] = 10
    x[:4, :4] = 1e6  # fewer than 1 in 200 of the pixels above the minimum
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
