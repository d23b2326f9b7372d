import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulation.cohort.fields import smooth_field


@given(seed=st.integers(0, 2**32), size=st.integers(32, 128), knots=st.integers(3, 12))
def test_field_is_finite_and_smooth(seed, size, knots):
    field = smooth_field(np.random.default_rng(seed), size, knots)
    assert field.shape == (size, size)
    assert field.dtype == np.float64
    assert np.abs(field).max() < 8
    assert np.abs(np.diff(field, axis=0)).max() < 8 * knots / size * 2


def test_field_has_mean_zero_and_deviation_near_one():
    rng = np.random.default_rng(0)
    values = np.stack([smooth_field(rng, 64, 6) for _ in range(200)])
    assert abs(values.mean()) < 0.05
    assert 0.6 < values.std() < 1.1
