import socket
import sys

import numpy as np
import pytest

from ra_core.errors import ConfigError
from simulation.cohort.anatomy import FIELD_OF_VIEW_MM, TISSUES, draw_anatomy, load_atlas


def _anatomy(seed, size=96):
    return draw_anatomy(load_atlas(), size, np.random.default_rng(seed))


def test_atlas_loads_without_a_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("tried to open a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    atlas = load_atlas.__wrapped__()
    assert atlas.volumes.shape[0] == 4
    assert np.isfinite(atlas.volumes).all()


def test_missing_nilearn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(ConfigError, match="nilearn") as caught:
        load_atlas.__wrapped__()
    assert caught.value.hint == "pip install 'federated-ra[simulation]'"


@pytest.mark.parametrize("seed", range(5))
def test_tissues_are_shares(seed):
    anatomy = _anatomy(seed)
    assert anatomy.tissues.shape == (len(TISSUES), 96, 96)
    assert anatomy.tissues.dtype == np.float64
    total = anatomy.tissues.sum(axis=0)
    assert anatomy.tissues.min() >= -1e-6
    assert total.max() <= 1 + 1e-5
    assert total[anatomy.outside_mm < 0] == pytest.approx(1, abs=1e-5)
    assert total[[0, -1], :].max() == total[:, [0, -1]].max() == 0  # the whole head is in the picture


@pytest.mark.parametrize("seed", range(5))
def test_brain_is_as_large_as_a_brain_and_whitest_within(seed):
    anatomy = _anatomy(seed)
    _, grey, white, *_ = anatomy.tissues
    area_cm2 = float((grey + white).sum()) * anatomy.spacing_mm**2 / 100
    assert 70 < area_cm2 < 240
    assert np.average(anatomy.outside_mm, weights=white) < np.average(anatomy.outside_mm, weights=grey) < 0


def test_spacing_follows_the_size():
    assert _anatomy(0, 64).spacing_mm == pytest.approx(FIELD_OF_VIEW_MM / 64)


def test_patients_differ_and_a_seed_repeats():
    first, again, other = _anatomy(1), _anatomy(1), _anatomy(2)
    np.testing.assert_array_equal(first.tissues, again.tissues)
    assert np.abs(first.tissues - other.tissues).mean() > 0.01
    assert first.height_mm != other.height_mm
