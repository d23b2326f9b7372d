"""Each formula against an independent evaluation in float64 NumPy, written from the formula, not from the code."""

import numpy as np
import pytest
import torch

from ra_core import losses

N, C, S, Z = 5, 1, 16, 7
W_REC, W_KL, W_NEG, W_REV, GAMMA = 0.5, 1 / 16384, 128 / 16384, 0.005, 0.3
LEVELS = ((4, 8, 8), (6, 4, 4), (8, 2, 2))


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    arrays = {name: rng.random((N, C, S, S)) for name in ("x", "x_hat", "x_fake", "x_hat2", "x_fake2")}
    for name in ("real", "hat", "fake"):
        arrays["mu_" + name], arrays["logvar_" + name] = rng.normal(size=(2, N, Z))
    arrays["e_real"] = [rng.normal(size=(N, *shape)) for shape in LEVELS]
    arrays["e_hat"] = [rng.normal(size=(N, *shape)) for shape in LEVELS]
    return arrays


def tensor(a):
    return torch.from_numpy(np.asarray(a)).float()


def sse(a, b):
    return np.array([((a[n] - b[n]) ** 2).sum() for n in range(N)])


def kl(mu, logvar):
    return np.array(
        [0.5 * sum(m**2 + np.exp(v) - 1 - v for m, v in zip(mu[n], logvar[n], strict=True)) for n in range(N)]
    )


def close(ours, reference):
    np.testing.assert_allclose(np.asarray(ours, dtype=np.float64), reference, rtol=1e-5)


def torch_terms(a):
    """The package's error and KL terms, from float32 tensors."""
    pairs = {"real": ("x", "x_hat"), "hat": ("x_hat", "x_hat2"), "fake": ("x_fake", "x_fake2")}
    errors = {k: losses.squared_error(tensor(a[p]), tensor(a[q])) for k, (p, q) in pairs.items()}
    kls = {k: losses.kl_divergence(tensor(a["mu_" + k]), tensor(a["logvar_" + k])) for k in pairs}
    return errors, kls


def test_squared_error(arrays):
    close(losses.squared_error(tensor(arrays["x"]), tensor(arrays["x_hat"])), sse(arrays["x"], arrays["x_hat"]) / S**2)


def test_kl_divergence(arrays):
    mu, logvar = arrays["mu_real"], arrays["logvar_real"]
    close(losses.kl_divergence(tensor(mu), tensor(logvar)), kl(mu, logvar))


def test_kl_divergence_against_torch_distributions(arrays):
    mu, logvar = tensor(arrays["mu_real"]), tensor(arrays["logvar_real"])
    ours = losses.kl_divergence(mu, logvar)
    q = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    p = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(q, p).sum(1))


def test_reversed_similarity(arrays):
    reference = 0.0
    for a, b in zip(arrays["e_real"], arrays["e_hat"], strict=True):
        cosines = [(a[n] * b[n]).sum() / (np.sqrt((a[n] ** 2).sum()) * np.sqrt((b[n] ** 2).sum())) for n in range(N)]
        reference += 0.5 * ((a - b) ** 2).mean() + np.mean([1 - c for c in cosines])
    ours = losses.reversed_similarity([tensor(e) for e in arrays["e_real"]], [tensor(e) for e in arrays["e_hat"]])
    close(ours, reference)


def test_encoder_loss_equals_the_authors_with_sums_over_pixels(arrays):
    """s [β_rec SSE + β_kl KL] + ¼ mean{exp(−2s[...]) + exp(−2s[...])} + w L_rev, with s = 1/pixels."""
    a, s = arrays, 1 / S**2
    beta_rec, beta_kl, beta_neg = 0.5, 1.0, 128.0
    elbo = s * (beta_rec * sse(a["x"], a["x_hat"]) + beta_kl * kl(a["mu_real"], a["logvar_real"]))
    push = {
        k: np.exp(-2 * s * (beta_rec * sse(a[p], a[q]) + beta_neg * kl(a["mu_" + k], a["logvar_" + k])))
        for k, p, q in (("hat", "x_hat", "x_hat2"), ("fake", "x_fake", "x_fake2"))
    }
    l_rev = 1.7
    reference = elbo.mean() + 0.25 * (push["hat"] + push["fake"]).mean() + W_REV * l_rev

    errors, kls = torch_terms(a)
    weights = {"w_rec": beta_rec, "w_neg": beta_neg * s}
    ours = losses.encoder_loss(
        losses.elbo_loss(errors["real"], kls["real"], w_rec=beta_rec, w_kl=beta_kl * s),
        losses.introspective_push(errors["hat"], kls["hat"], **weights),
        losses.introspective_push(errors["fake"], kls["fake"], **weights),
        torch.tensor(l_rev),
        w_rev=W_REV,
    )
    close(ours, reference)


def test_decoder_loss_equals_the_authors_with_sums_over_pixels(arrays):
    a, s = arrays, 1 / S**2
    beta_rec, beta_kl = 0.5, 1.0
    kl_hat, kl_fake = (kl(a["mu_" + k], a["logvar_" + k]) for k in ("hat", "fake"))
    generated = sse(a["x_hat"], a["x_hat2"]) + sse(a["x_fake"], a["x_fake2"])
    reference = s * (
        beta_rec * sse(a["x"], a["x_hat"]) + 0.5 * beta_kl * (kl_hat + kl_fake) + 0.5 * GAMMA * beta_rec * generated
    )
    errors, kls = torch_terms(a)
    ours = losses.decoder_loss(
        errors["real"], kls["hat"], kls["fake"], errors["hat"], errors["fake"],
        w_rec=beta_rec, w_kl=beta_kl * s, gamma_r=GAMMA,
    )  # fmt: skip
    close(ours, reference.mean())


def test_decoder_loss_needs_the_errors_of_generated_images_when_they_count(arrays):
    errors, kls = torch_terms(arrays)
    terms = (errors["real"], kls["hat"], kls["fake"], None, None)
    with pytest.raises(ValueError, match="gamma_r"):
        losses.decoder_loss(*terms, w_rec=W_REC, w_kl=W_KL, gamma_r=GAMMA)
    assert torch.isfinite(losses.decoder_loss(*terms, w_rec=W_REC, w_kl=W_KL, gamma_r=0.0))


def test_half_precision_inputs_are_widened_before_arithmetic():
    x = torch.full((1, 1, 8, 8), 0.5, dtype=torch.bfloat16)
    assert losses.squared_error(x, x + 0.25).dtype == torch.float32
    assert losses.kl_divergence(torch.ones(1, 3, dtype=torch.bfloat16), torch.zeros(1, 3)).item() == 1.5
    assert losses.squared_error(x.double(), x.double()).dtype == torch.float64


def test_no_weight_depends_on_image_size():
    """The same picture at twice the size has the same error per pixel."""
    x, y = torch.rand(2, 3, 1, 8, 8)
    big_x, big_y = (t.repeat_interleave(2, 2).repeat_interleave(2, 3) for t in (x, y))
    torch.testing.assert_close(losses.squared_error(x, y), losses.squared_error(big_x, big_y))
