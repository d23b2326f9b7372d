import copy

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ra_core.data import HeldImages
from ra_core.models.configs import RAConfig, VAEConfig
from ra_core.models.method import StepState
from ra_core.models.registry import build_method
from ra_core.rng import generator
from ra_core.training import LocalTrainer

TINY = {"channels": (4, 8, 8), "latent": 8}


def pictures(n=4):
    return torch.rand(n, 1, 32, 32, generator=generator(0, "pictures"))


def trainer(tiny_study, runtime, config):
    x = HeldImages(pictures())
    return LocalTrainer(build_method(config, 32, 0), x, x, tiny_study.training, runtime, 0)


def test_a_step_descends_the_evidence_lower_bound_a_pixel(tiny_study, runtime, monkeypatch):
    """By torch's own distributions: -log N(x; x̂, 1) + KL, but for a constant, over the number of pixels."""
    t = trainer(tiny_study, runtime, VAEConfig(**TINY, w_rec=0.5, w_kl=1 / 32**2))
    x, model = t._batch().double(), copy.deepcopy(t.method).double()
    found = []
    monkeypatch.setattr(StepState, "descend", lambda _, name, loss, *parts: found.append((loss.item(), parts)))
    t.run(1)
    mu, logvar, _ = model.encoder(x)
    posterior = Normal(mu, (logvar / 2).exp())
    z = mu + posterior.stddev * torch.randn(4, 8, generator=generator(0, "noise", "z", 0)).double()
    fit = Normal(model.decoder(z), 1.0).log_prob(x) + torch.tensor(2 * torch.pi).sqrt().log()
    bound = fit.sum((1, 2, 3)) - kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)
    assert found == [(pytest.approx(-bound.mean().item() / 32**2, rel=1e-5), ("encoder", "decoder"))]


def test_it_is_what_ra_is_in_its_warm_up(tiny_study, runtime):
    ra = trainer(tiny_study, runtime, RAConfig(**TINY, warmup_steps=5, warmup_learning_rate=2e-3))
    vae = trainer(tiny_study, runtime, VAEConfig(**TINY, learning_rate=2e-3))
    for t in (ra, vae):
        t.run(5)
    assert ra.history == vae.history
    for name, tensor in ra.method.state_dict().items():
        assert torch.equal(tensor, vae.method.state_dict()[name])


def test_the_paper_preset_is_a_gaussian_of_spread_one_at_its_size():
    c = VAEConfig(preset="paper")
    assert (c.w_rec, c.w_kl, c.latent, c.learning_rate) == (0.5, 1 / 128**2, 256, 5e-4)


def test_with_ras_two_rates_it_steps_at_the_rates_of_ra(tiny_study, runtime, monkeypatch):
    ra = RAConfig(**TINY, warmup_steps=2, warmup_learning_rate=2e-3, learning_rate=5e-4)
    vae = VAEConfig(**TINY, learning_rate=2e-3, late_from=2, late_learning_rate=5e-4)
    found = {}
    for config in (ra, vae, VAEConfig(**TINY, learning_rate=2e-3)):
        rates = []
        monkeypatch.setattr(StepState, "set_rate", lambda _, rate, rates=rates: rates.append(rate))
        t = trainer(tiny_study, runtime, config)
        t.run(4)
        assert [turn.rate for step in range(4) for turn in t.method.turns(step)[:1]] == rates
        found[config] = rates
    assert found[ra] == found[vae] == [2e-3, 2e-3, 5e-4, 5e-4]
    assert [*found.values()][2] == [2e-3] * 4


@pytest.mark.parametrize("one", [{"late_from": 2}, {"late_learning_rate": 1e-4}])
def test_a_late_rate_and_its_beginning_belong_together(one):
    with pytest.raises(ValueError, match="belong together"):
        VAEConfig(**one)
