"""The terms of the Reversed Autoencoder's objective, as pure functions of tensors, always in float32 (or wider).

Reconstruction is a mean squared error per pixel and the KL divergence is in nats with a weight per nat, so no weight
depends on the image size. With ``w_rec = 0.5, w_kl = 1/16384, w_neg = 128/16384, w_rev = 0.005`` the losses equal the
authors' at 128 x 128, where they sum squared errors and divide everything by the number of pixels.

Symbols: x real image, x̂ = D(z) with z ~ q(z|x) its reconstruction, x_f = D(z_p) with z_p ~ N(0, I) a sampled ("fake")
image, x̂' and x_f' the reconstructions of x̂ and x_f. E_l(x) is the encoder's l-th embedding.

References:
    Daniel and Tamar, "Soft-IntroVAE: Analyzing and Improving the Introspective Variational Autoencoder", CVPR 2021.
    Bercea et al., "Towards Universal Unsupervised Anomaly Detection in Medical Imaging", arXiv 2401.10637.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "decoder_loss",
    "elbo_loss",
    "encoder_loss",
    "introspective_push",
    "kl_divergence",
    "reversed_similarity",
    "squared_error",
]


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error per pixel of each image: two (N, C, H, W) -> (N,), at least 0."""
    return (_wide(x) - _wide(y)).square().flatten(1).mean(1)


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)) of each image in nats: two (N, Z) -> (N,), at least 0.

    ½ Σ_j (mu_j² + e^{logvar_j} − 1 − logvar_j), Kingma and Welling 2014, appendix B.
    """
    mu, logvar = _wide(mu), _wide(logvar)
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)


def reversed_similarity(real: Sequence[Tensor], reconstructed: Sequence[Tensor]) -> Tensor:
    """Reversed multi-scale embedding similarity L_rev of a batch: a scalar, at least 0.

    Σ_l { ½ MSE(E_l(x), E_l(x̂)) + mean_n [1 − cos(vec E_l(x_n), vec E_l(x̂_n))] }, all levels weighted alike. It pulls
    what the encoder sees in a reconstruction towards what it sees in the input. The decoder must not be in the graph:
    pass the embeddings of a detached x̂.

    Args:
        real: embeddings E_l(x), each (N, C_l, H_l, W_l).
        reconstructed: embeddings E_l(x̂) of the same shapes.
    """
    total = torch.zeros((), device=real[0].device)
    for level, other in zip(real, reconstructed, strict=True):
        a, b = _wide(level).flatten(1), _wide(other).flatten(1)  # (N, C·H·W)
        total = total + 0.5 * F.mse_loss(a, b) + (1 - F.cosine_similarity(a, b, dim=1)).mean()
    return total


def elbo_loss(error: Tensor, kl: Tensor, *, w_rec: float, w_kl: float) -> Tensor:
    """Negative evidence lower bound, w_rec·error + w_kl·KL, averaged over the batch: two (N,) -> scalar."""
    return (w_rec * error + w_kl * kl).mean()


def introspective_push(error: Tensor, kl: Tensor, *, w_rec: float, w_neg: float) -> Tensor:
    """Soft-IntroVAE's push on generated images: mean of exp(−2 [w_rec·error + w_neg·KL]), a scalar in [0, 1].

    Minimised by the encoder, so it drives the KL of generated images up, ever more weakly as it grows.
    """
    return torch.exp(-2 * (w_rec * error + w_neg * kl)).mean()


def encoder_loss(elbo: Tensor, push_reconstructed: Tensor, push_fake: Tensor, l_rev: Tensor, *, w_rev: float) -> Tensor:
    """L_E = ELBO loss + ¼ (push on x̂ + push on x_f) + w_rev · L_rev: scalars -> scalar."""
    return elbo + 0.25 * (push_reconstructed + push_fake) + w_rev * l_rev


def decoder_loss(
    error: Tensor,
    kl_reconstructed: Tensor,
    kl_fake: Tensor,
    error_reconstructed: Tensor | None,
    error_fake: Tensor | None,
    *,
    w_rec: float,
    w_kl: float,
    gamma_r: float,
) -> Tensor:
    """L_D = w_rec·error + ½ w_kl [KL(x̂) + KL(x_f)] + ½ γ_r w_rec [error(x̂, x̂') + error(x_f, x_f')]: (N,)s -> scalar.

    The two last errors may be None where γ_r is 0, to save computing them.

    Raises:
        ValueError: an error is None although gamma_r is not 0.
    """
    loss = w_rec * error + 0.5 * w_kl * (kl_reconstructed + kl_fake)
    if gamma_r:
        if error_reconstructed is None or error_fake is None:
            raise ValueError("gamma_r is not 0: the errors of x̂ and x_f are needed")
        loss = loss + 0.5 * gamma_r * w_rec * (error_reconstructed + error_fake)
    return loss.mean()


def _wide(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
