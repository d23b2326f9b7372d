import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from ra_core.data import HeldImages
from ra_core.losses import reversed_similarity
from ra_core.models.configs import RAConfig
from ra_core.models.method import StepState
from ra_core.models.ra import RA
from ra_core.models.registry import build_method
from ra_core.rng import generator
from ra_core.training import LocalTrainer

pytestmark = pytest.mark.slow

TINY = {"channels": (4, 8, 8), "latent": 8, "warmup_steps": 0}


def pictures(n=6, size=32):
    return torch.rand(n, 1, size, size, generator=generator(0, "pictures"))


def snapshot(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def trainer(tiny_study, runtime, config, images=None):
    images = HeldImages(pictures() if images is None else images)
    return LocalTrainer(build_method(config, 32, 0), images, images, tiny_study.training, runtime, 0)


def test_paper_preset_has_the_published_size_and_embeddings():
    model = RA(RAConfig(preset="paper"), 128)
    assert sum(p.numel() for p in model.parameters()) == 29_430_785
    with torch.inference_mode():
        mu, logvar, embeddings = model.encoder(torch.rand(1, 1, 128, 128))
    assert mu.shape == logvar.shape == (1, 128)
    assert [tuple(e.shape[1:]) for e in embeddings] == [
        (64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4),
    ]  # fmt: skip


@pytest.mark.parametrize("channels", [(12, 24, 48), (1, 3), (8, 10)])
def test_widths_need_not_be_multiples_of_eight(channels):
    model = RA(RAConfig(channels=channels, latent=4), 32)
    assert model.encoder(torch.rand(2, 1, 32, 32))[0].shape == (2, 4)


def test_paper_preset_weights_are_the_authors():
    c = RAConfig(preset="paper")
    assert (c.w_rec, c.w_kl, c.w_neg, c.w_rev) == (0.5, 1 / 16384, 128 / 16384, 0.005)
    assert (c.learning_rate, c.warmup_steps) == (5e-5, 0)


def test_the_authors_weight_of_generated_images_errors_is_below_rounding():
    """It is left out of the preset: what it adds to a gradient is less than the last bit of float32."""
    model = build_method(RAConfig(preset="paper", channels=(8, 16), latent=16), 32, 0).double().train()
    latents = torch.randn(8, 16, generator=generator(0, "latents")).double()

    def gradient(gamma):
        model.config = model.config.model_copy(update={"gamma_r": gamma})
        loss, _ = model._decoder_loss(pictures(4).double(), model.decoder(latents), WideNoise.of(0))
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.decoder.parameters()))])

    without = gradient(0.0)
    assert 0 < (gradient(1e-8) - without).norm() < torch.finfo(torch.float32).eps / 2 * without.norm()


def test_frozen_batch_norm_keeps_its_statistics_in_training():
    model = RA(RAConfig(preset="paper", channels=(4, 8)), 32).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    model.reconstruct(pictures() * 5)
    assert all(not n.training and torch.all(n.running_mean == 0) and torch.all(n.running_var == 1) for n in norms)


@pytest.mark.parametrize("size", [64, 128])
def test_small_preset_works_at_two_sizes(size):
    with torch.inference_mode():
        x_hat = RA(RAConfig(), size).reconstruct(torch.rand(2, 1, size, size))
    assert x_hat.shape == (2, 1, size, size)
    assert 0 <= x_hat.min() <= x_hat.max() <= 1


def test_a_size_that_cannot_be_halved_often_enough_is_refused():
    with pytest.raises(ValueError, match="multiple"):
        RA(RAConfig(), 48)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="preset"):
        RAConfig.model_validate({"preset": "big"})


def test_keys_beside_a_preset_win():
    assert RAConfig(preset="paper", latent=32).latent == 32
    assert RAConfig(preset="paper", latent=32).norm == "frozen_batch"


def test_initial_weights_depend_on_the_seed_alone():
    torch.rand(3)
    first = build_method(RAConfig(**TINY), 32, 7).state_dict()
    torch.rand(5)
    assert same(first, build_method(RAConfig(**TINY), 32, 7).state_dict())
    assert not same(first, build_method(RAConfig(**TINY), 32, 8).state_dict())


def test_reversed_term_reaches_the_encoder_by_both_passes_and_never_the_decoder():
    model = build_method(RAConfig(**TINY), 32, 0)
    x = pictures()
    mu, _, seen = model.encoder(x)
    generated = model.decoder(mu)
    _, _, seen_again = model.encoder(generated.detach())
    loss = reversed_similarity(seen, seen_again)
    through_both = torch.autograd.grad(loss, model.encoder.stem.parameters(), retain_graph=True)
    through_first = torch.autograd.grad(
        reversed_similarity(seen, [e.detach() for e in seen_again]), model.encoder.stem.parameters(), retain_graph=True
    )
    through_second = torch.autograd.grad(
        reversed_similarity([e.detach() for e in seen], seen_again), model.encoder.stem.parameters(), retain_graph=True
    )
    for both, one, two in zip(through_both, through_first, through_second, strict=True):
        assert one.abs().max() > 0
        assert two.abs().max() > 0
        torch.testing.assert_close(both, one + two, rtol=1e-3, atol=1e-6)
    decoder = torch.autograd.grad(loss, model.decoder.parameters(), allow_unused=True)
    assert all(g is None for g in decoder)


class WideNoise(StepState):
    """A step's state whose noise is float64."""

    @classmethod
    def of(cls, step):
        return cls(step, 0, {}, nullcontext, torch.device("cpu"))

    def noise(self, name, *shape):
        return super().noise(name, *shape).double()


class Objective:
    """The sheet's two losses in float64, image kinds apart and each with its own pass, for the noise of step 0."""

    def __init__(self, method, x, seed):
        self.c, self.x = method.config, x.double()
        self.encoder, self.decoder = (copy.deepcopy(m).double() for m in (method.encoder, method.decoder))
        n, z = len(x), method.config.latent
        noise = {
            name: torch.randn(rows, z, generator=generator(seed, "noise", name, 0)).double()
            for name, rows in (("z", n), ("prior", n), ("z generated", 2 * n), ("z generated again", 2 * n))
        }
        self.n, self.noise = n, noise

    def sample(self, mu, logvar, noise):
        return mu + torch.exp(logvar / 2) * noise

    def error(self, a, b):
        return ((a - b) ** 2).sum((1, 2, 3)) / self.x[0].numel()

    def kl(self, mu, logvar):
        return 0.5 * (mu**2 + torch.exp(logvar) - 1 - logvar).sum(1)

    def encoder_loss(self):
        c, n = self.c, self.n
        mu, logvar, seen = self.encoder(self.x)
        x_hat = self.decoder(self.sample(mu, logvar, self.noise["z"]))
        x_fake = self.decoder(self.noise["prior"])
        loss = (c.w_rec * self.error(self.x, x_hat) + c.w_kl * self.kl(mu, logvar)).mean()
        for image, noise in ((x_hat, self.noise["z generated"][:n]), (x_fake, self.noise["z generated"][n:])):
            mu_g, logvar_g, seen_g = self.encoder(image.detach())
            again = self.decoder(self.sample(mu_g, logvar_g, noise))
            exponent = -2 * (c.w_rec * self.error(image, again) + c.w_neg * self.kl(mu_g, logvar_g))
            loss = loss + 0.25 * torch.exp(exponent).mean()
            if image is x_hat:
                for a, b in zip(seen, seen_g, strict=True):
                    cosine = (a * b).sum((1, 2, 3)) / (a.flatten(1).norm(dim=1) * b.flatten(1).norm(dim=1))
                    loss = loss + c.w_rev * (0.5 * ((a - b) ** 2).mean() + (1 - cosine).mean())
        return loss

    def decoder_loss(self):
        c, n = self.c, self.n
        mu, logvar, _ = self.encoder(self.x)
        x_hat = self.decoder(self.sample(mu, logvar, self.noise["z"]).detach())
        x_fake = self.decoder(self.noise["prior"])
        loss = c.w_rec * self.error(self.x, x_hat)
        for image, noise in (
            (x_hat, self.noise["z generated again"][:n]),
            (x_fake, self.noise["z generated again"][n:]),
        ):
            mu_g, logvar_g, _ = self.encoder(image)
            again = self.decoder(self.sample(mu_g, logvar_g, noise).detach())
            loss = loss + 0.5 * c.w_kl * self.kl(mu_g, logvar_g)
            loss = loss + 0.5 * c.gamma_r * c.w_rec * self.error(image.detach(), again)
        return loss.mean()


def test_a_real_step_descends_exactly_the_two_losses(tiny_study, runtime, monkeypatch):
    """Values and gradients of what `training_step` descends, against an evaluation written from the formulas."""
    config = RAConfig(**TINY, w_kl=0.01, w_neg=0.05, w_rev=0.3, gamma_r=0.5)
    t = trainer(tiny_study, runtime, config)
    batch = t._batch()
    reference = Objective(t.method, batch, t.seed)
    found = {}

    def capture(_state, name, loss, *parts, keep_graph=False):
        parameters = [p for part in parts for p in t.method.shared_parts()[part].parameters()]
        found[name] = (loss.item(), torch.autograd.grad(loss, parameters, retain_graph=keep_graph), parts)

    monkeypatch.setattr(StepState, "descend", capture)
    t.run(1)
    for name, loss in (("encoder", reference.encoder_loss()), ("decoder", reference.decoder_loss())):
        value, gradients, parts = found[name]
        assert parts == (name,)
        assert value == pytest.approx(loss.item(), rel=1e-5)
        expected = torch.autograd.grad(loss, list(getattr(reference, name).parameters()))
        size = max(g.abs().max() for g in expected)
        for ours, theirs in zip(gradients, expected, strict=True):
            assert (ours.double() - theirs).abs().max() < 1e-4 * size


def test_encoder_step_leaves_the_decoder_untouched_and_the_other_way_round(tiny_study, runtime):
    t = trainer(tiny_study, runtime, RAConfig(**TINY, gamma_r=0.5))
    model, observed = t.method, {}
    encoder_step, decoder_step = model._encoder_step, model._decoder_step

    def watched(name, step):
        def run(*args):
            before = {part: snapshot(module) for part, module in model.shared_parts().items()}
            out = step(*args)
            observed[name] = {p: not same(before[p], m.state_dict()) for p, m in model.shared_parts().items()}
            assert all(parameter.grad is None for parameter in model.parameters())
            return out

        return run

    model._encoder_step = watched("encoder", encoder_step)
    model._decoder_step = watched("decoder", decoder_step)
    t.run(1)
    assert observed == {
        "encoder": {"encoder": True, "decoder": False},
        "decoder": {"encoder": False, "decoder": True},
    }


def test_warmup_is_a_plain_vae_with_its_own_learning_rate(tiny_study, runtime):
    t = trainer(tiny_study, runtime, RAConfig(**TINY | {"warmup_steps": 2}))
    names = []
    t.run(3, lambda _, terms: names.append(set(terms)))
    assert "vae" in names[0]
    assert {"encoder", "decoder", "kl_gap", "reversed"} <= names[2]
    assert t.optimizers["encoder"].param_groups[0]["lr"] == t.method.config.learning_rate


def test_kl_gap_is_fake_minus_real(tiny_study, runtime):
    t = trainer(tiny_study, runtime, RAConfig(**TINY))
    found = {}
    t.run(1, lambda _, terms: found.update(terms))
    assert found["kl_gap"] == pytest.approx(found["kl_fake"] - found["kl_real"])


def test_reconstruction_is_deterministic():
    model = build_method(RAConfig(**TINY), 32, 0).eval()
    with torch.inference_mode():
        assert torch.equal(model.reconstruct(pictures()), model.reconstruct(pictures()))


def test_it_overfits_a_handful_of_images(tiny_study, runtime):
    """Four smooth pictures: after 150 steps the error is a fraction of what predicting the mean picture costs."""
    x = torch.nn.functional.interpolate(pictures(4, 4), size=(32, 32), mode="bilinear")
    training = tiny_study.training.model_copy(update={"steps": 200, "validate_every": 200})
    training = training.model_copy(
        update={"augmentation": type(training.augmentation)(rotate_degrees=0, shift=0, scale=0)}
    )
    config = RAConfig(channels=(8, 16, 16), latent=16, warmup_steps=150, warmup_learning_rate=3e-3)
    t = LocalTrainer(build_method(config, 32, 0), HeldImages(x), HeldImages(x), training, runtime, 0)
    t.run(200)
    with torch.inference_mode():
        error = (t.method.eval().reconstruct(x) - x).square().mean()
    assert error < 0.3 * (x - x.mean(0)).square().mean()
