"""Bits of the operating system, and what is made of them."""

import numpy as np
import pytest
from private import Seeded
from scipy import stats

from ra_core.privacy.randomness import SYSTEM, Randomness


def test_the_bits_are_the_systems(monkeypatch):
    asked = []
    monkeypatch.setattr("os.urandom", lambda count: asked.append(count) or bytes(count))
    found = Randomness()
    assert found.source == SYSTEM
    assert (found.uniform(3) == 0).all()
    assert np.isfinite(found.normal(2)).all()
    assert found.below(7) == 0
    assert asked == [24, 16, 16, 16, 16, 8]


def test_no_subclass_passes_for_the_systems():
    assert Seeded().source == "test"


def test_two_draws_differ():
    assert (Randomness().normal(4) != Randomness().normal(4)).all()


def test_uniform_and_normal_numbers_are_distributed_so():
    draws = Seeded()
    assert stats.kstest(draws.uniform(20_000), "uniform").pvalue > 0.01
    assert stats.kstest(draws.normal(20_000), "norm").pvalue > 0.01


@pytest.mark.parametrize("word", [b"\x00", b"\xff"])
def test_no_bits_give_a_number_out_of_range(word):
    class Constant(Randomness):
        def bits(self, count):
            return word * count

    assert 0 <= Constant().uniform(1)[0] < 1
    assert np.isfinite(Constant().normal(1)).all()
