"""The maps are those that the benchmark's plain reference makes of one image after another."""

from pathlib import Path

import torch

from ra_core.rng import generator
from ra_core.scoring import SCORINGS, Scorer

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_maps_are_those_of_the_plain_reference(untrained_perceptual, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from reference_scoring import Reference

    plain = [s for s in SCORINGS if not s.standardise]
    x, x_hat = torch.rand(2, 3, 1, 64, 64, generator=generator(0, "reference")).unbind()
    expected = Reference("alex", untrained_perceptual).maps(x, x_hat, plain)
    found = Scorer(untrained_perceptual).maps(x, x_hat, plain)
    for name, maps in expected.items():
        assert (found[name] - maps).abs().max() <= 1e-3 * maps.quantile(0.99), name
