import pytest
import torch

from ra_core.data import HeldImages
from ra_core.models.beta_vae import BetaVAE
from ra_core.models.configs import BetaVAEConfig
from ra_core.models.registry import build_method
from ra_core.rng import generator
from ra_core.training import LocalTrainer

TINY = {"channels": (4, 8), "latent": 4}
ERROR, KL = torch.tensor([0.02, 0.04]), torch.tensor([6.0, 10.0])


def loss(step, **settings):
    return BetaVAE(BetaVAEConfig(**TINY, **settings), 32).vae_loss(ERROR, KL, step).item()


@pytest.mark.parametrize(("step", "capacity"), [(0, 0.0), (10, 5.0), (16, 8.0), (40, 20.0), (1000, 20.0)])
def test_type_b_pulls_the_mean_kl_to_a_capacity_that_grows(step, capacity):
    found = loss(step, w_rec=0.5, w_kl=0.01, gamma=3, capacity=20, capacity_steps=40)
    assert found == pytest.approx(0.5 * 0.03 + 0.01 * 3 * abs(8.0 - capacity))


def test_type_h_weighs_the_kl_beta_times():
    for step in (0, 1000):
        found = loss(step, objective="H", w_rec=0.5, w_kl=0.01, beta=4)
        assert found == pytest.approx(0.5 * 0.03 + 4 * 0.01 * 8.0)


def test_numbers_are_those_of_the_baseline_but_for_a_common_factor():
    c = BetaVAEConfig(preset="paper")
    assert (c.beta, c.gamma, c.capacity, c.latent, c.learning_rate) == (4, 2, 50, 32, 5e-4)
    assert c.w_kl / c.w_rec == 0.008
    assert c.capacity_steps == 1e5


def test_the_kl_arrives_at_the_capacity(runtime, tiny_study):
    """From below and from above, which a plain weight on the KL can't do."""
    x = HeldImages(torch.rand(4, 1, 32, 32, generator=generator(0, "pictures")))
    config = BetaVAEConfig(**TINY, w_kl=0.05, capacity=5, capacity_steps=1, learning_rate=1e-2)
    t = LocalTrainer(build_method(config, 32, 0), x, x, tiny_study.training, runtime, 0)
    seen = []
    t.run(150, lambda _, terms: seen.append(terms["kl_real"]))
    assert seen[0] < 3
    assert sum(seen[-30:]) / 30 == pytest.approx(5, abs=0.5)
