"""From a site's update back to an image that it was trained on.

The attacker is the server, or who reads what it gets: he has the model that the site started from, the update as it was
sent, and an idea of what such images look like (the mean image of others). Three steps:

1. *Adam undone.* The first step of Adam (Kingma and Ba 2015, algorithm 1, both averages of one gradient) moves a weight
   by rate · g / (|g| + ε). Where |g| isn't so large that this is the rate itself, it can be solved for g.
2. *What the encoder's last layer was given.* Of a linear layer with bias and one image, the gradient of each row of
   weights is the gradient of its bias times the layer's input: any row tells the input exactly (Phong et al. 2018,
   section III; Geiping et al. 2020, proposition 3.1). Here it is fitted to all rows, as few of them are whole.
3. *The image.* By gradient descent the image is sought of which the encoder makes that input, by cosine and total
   variation as in Geiping et al. 2020, equation 4, which compares whole gradients so; here the input is compared.

References:
    Geiping et al., "Inverting Gradients: How easy is it to break privacy in federated learning?", NeurIPS 2020, arXiv
    2003.14053.
    Phong et al., "Privacy-Preserving Deep Learning via Additively Homomorphic Encryption", IEEE TIFS 2018, eprint
    2017/715.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ra_core.fixed_point import RESOLUTION

__all__ = ["Gradient", "draw_images", "layer_input", "layer_inputs_of", "undo_adam"]

ADAM_EPSILON = 1e-8
"""torch's, which all methods leave as it is."""

SURE = 5
"""A weight is known to have moved by less than the rate where that many of the protocol's steps lie between."""

TURNS = 20
"""Of the fit; after ten nothing moves any more, and the input of the quickstart's encoder is off by 0.3 %."""

VARIATION, RATE = 1e-2, 0.03
"""Weight of the total variation, and Adam's first rate in drawing; it falls to 0 along a cosine."""


class Gradient(NamedTuple):
    """A gradient as an attacker knows it.

    Attributes:
        value: of any shape, float64; where it isn't known, as large as it is at least.
        known: the same shape, bool.
    """

    value: Tensor
    known: Tensor


def undo_adam(update: Tensor, rate: float, steps: int = 1) -> Gradient:
    """The gradient behind an update of weights that Adam has made from scratch; exact for one step.

    Args:
        update: float64, of any shape, a multiple of the protocol's resolution.
        rate: Adam's.
        steps: after several, the update is taken for so many equal ones, which they are not.
    """
    share = update.abs() / (rate * steps)
    largest = 1 - SURE * RESOLUTION / (rate * steps)
    low = share.clamp(max=largest)
    return Gradient(-update.sign() * ADAM_EPSILON * low / (1 - low), (share < largest) & (share > 0))


def layer_input(weight: Gradient, bias: Gradient) -> Tensor:
    """What a linear layer was given, (F,), up to its length, from the gradients of its (O, F) weights and (O,) biases.

    The logarithm of a gradient's size is a row's number and a column's added up: the least-squares fit of the known
    ones, by turns; what isn't known hardly weighs. Signs are by majority of the rows.
    """
    table = Gradient(*(torch.cat([b[:, None], w], 1) for w, b in zip(weight, bias, strict=True)))
    size = table.value.abs().clamp_min(1e-30).log()
    weights = torch.where(table.known, 1.0, torch.where(table.value == 0, 0.0, 1e-6)).double().clamp_min(1e-12)
    columns = torch.zeros(1, size.shape[1], dtype=torch.float64)
    for _ in range(TURNS):
        rows = (weights * (size - columns)).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
        columns = (weights * (size - rows)).sum(0, keepdim=True) / weights.sum(0, keepdim=True)
    signs = (table.value.sign() * table.value.sign()[:, :1]).sum(0).sign()
    return (signs * (columns[0] - columns[0, 1:].max()).exp())[1:].float()


def draw_images(encoder: nn.Module, wanted: Tensor, start: Tensor, iterations: int) -> Tensor:
    """Images of which an encoder's last layer is given what is wanted, but for its length: (N, F) -> (N, 1, S, S).

    Args:
        encoder: with the weights that the update started from; its last layer is `head`.
        wanted: one a row.
        start: where to begin, (1, 1, S, S) in [0, 1].
        iterations: steps of descent.
    """
    images = start.repeat(len(wanted), 1, 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([images], lr=RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for _ in range(iterations):
        unlike = 1 - F.cosine_similarity(layer_inputs_of(encoder, images), wanted, dim=1)
        loss = (unlike + VARIATION * _variation(images)).sum()
        (images.grad,) = torch.autograd.grad(loss, images)
        optimizer.step()
        falling.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    return images.detach()


def layer_inputs_of(encoder: nn.Module, x: Tensor) -> Tensor:
    """What the encoder's last layer is given of images: (N, 1, S, S) -> (N, F)."""
    seen: list[Tensor] = []
    hook = encoder.get_submodule("head").register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        encoder(x)
    finally:
        hook.remove()
    return seen[0]


def _variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels, down and across: (N, 1, S, S) -> (N,)."""
    down, across = (x.diff(dim=d).abs().flatten(1).mean(1) for d in (2, 3))
    return down + across
