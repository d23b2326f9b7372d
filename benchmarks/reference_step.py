"""A training step of the Reversed Autoencoder as it is written down: what ours is measured against.

Every pass of docs/method.md's losses by itself and in its order, in float32, with PyTorch's defaults: 4 encoder and 4
decoder passes in the encoder's turn, 2 and 4 in the decoder's. The networks are those of `ra_core`, with PyTorch's own
layers; nothing else is.
"""

import contextlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import torch
import torch.nn.functional as F
from steps import noise, noise_images
from timing import counted
from torch import nn

from ra_core.models.blocks import FrozenBatchNorm2d, GroupNorm
from ra_core.models.registry import build_method


@contextlib.contextmanager
def reference_apart(config, given):
    """Two functions: one that takes the next step and gives its losses, one that gives the first step's operations.

    In a process of its own, since what ours sets there (allocator, determinism) is no default of PyTorch.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (config, given)) as process:
        yield lambda: process.submit(_take).result(), lambda: process.submit(_operations).result()


_there = {}
"""What lies in that process."""


def _begin(config, given):
    torch.set_num_threads(given.threads)
    torch.backends.cudnn.allow_tf32 = False  # float32 on a GPU, too
    method = build_method(config, given.size, 0).to(given.device)
    _there.update(reference=ReferenceStep(method, given.device), images=noise_images(given))


def _take():
    if "operations" in _there:
        return _there["reference"](_there["images"])
    losses, _there["operations"] = counted(lambda: _there["reference"](_there["images"]))
    return losses


def _operations():
    return _there["operations"]


class ReferenceStep:
    """Takes steps on a method's encoder and decoder.

    Args:
        method: an RA.
        device: for the noise.
    """

    def __init__(self, method, device):
        self.c, self.device = method.config, device
        self.encoder, self.decoder = plain(method.encoder), plain(method.decoder)
        self.adams = [torch.optim.Adam(p.parameters(), lr=self.c.learning_rate) for p in (self.encoder, self.decoder)]
        self.step = 0

    def __call__(self, x):
        """One step on (N, 1, S, S) in [0, 1]; both losses."""
        noise_z, noise_p = (self.noise(name, self.step, len(x), self.c.latent) for name in ("z", "prior"))
        first, z = self.encoder_turn(x, noise_z, noise_p)
        second = self.decoder_turn(x, z.detach(), noise_p)
        self.step += 1
        return {"encoder": first, "decoder": second}

    def noise(self, *asked):
        return noise(*asked).to(self.device)

    def encoder_turn(self, x, noise_z, z_p):
        c, n = self.c, len(x)
        noise = self.noise("z generated", self.step, 2 * n, c.latent)
        freeze(self.decoder, True)
        freeze(self.encoder, False)
        mu, logvar, seen = self.encoder(x)
        z = sample(mu, logvar, noise_z)
        x_hat, x_fake = self.decoder(z), self.decoder(z_p)
        pushes = []
        for image, drawn in ((x_hat, noise[:n]), (x_fake, noise[n:])):
            mu_g, logvar_g, _ = self.encoder(image.detach())
            again = self.decoder(sample(mu_g, logvar_g, drawn))
            pushes.append(torch.exp(-2 * (c.w_rec * error(image, again) + c.w_neg * kl(mu_g, logvar_g))).mean())
        _, _, seen_hat = self.encoder(x_hat.detach())
        similarity = sum(
            0.5 * F.mse_loss(a, b) + (1 - F.cosine_similarity(a.flatten(1), b.flatten(1))).mean()
            for a, b in zip(seen, seen_hat, strict=True)
        )
        elbo = (c.w_rec * error(x, x_hat) + c.w_kl * kl(mu, logvar)).mean()
        loss = elbo + 0.25 * sum(pushes) + c.w_rev * similarity
        return self.descend(0, loss), z

    def decoder_turn(self, x, z, z_p):
        c, n = self.c, len(x)
        noise = self.noise("z generated again", self.step, 2 * n, c.latent)
        freeze(self.decoder, False)
        freeze(self.encoder, True)
        x_hat, x_fake = self.decoder(z), self.decoder(z_p)
        loss = c.w_rec * error(x, x_hat)
        for image, drawn in ((x_hat, noise[:n]), (x_fake, noise[n:])):
            mu_g, logvar_g, _ = self.encoder(image)
            again = self.decoder(sample(mu_g, logvar_g, drawn).detach())
            loss = loss + 0.5 * (c.w_kl * kl(mu_g, logvar_g) + c.gamma_r * c.w_rec * error(image.detach(), again))
        return self.descend(1, loss.mean())

    def descend(self, number, loss):
        self.adams[number].zero_grad()
        loss.backward()
        self.adams[number].step()
        return float(loss.detach())


def plain(part):
    """The network with PyTorch's own norms and layout."""
    part.to(memory_format=torch.contiguous_format).train()
    for layer in part.modules():
        if isinstance(layer, FrozenBatchNorm2d):
            layer.__class__ = nn.BatchNorm2d  # in evaluation mode already
        elif isinstance(layer, GroupNorm):
            layer.__class__ = nn.GroupNorm
    return part


def freeze(part, frozen):
    for parameter in part.parameters():
        parameter.requires_grad = not frozen


def sample(mu, logvar, noise):
    return mu + torch.exp(0.5 * logvar) * noise


def error(a, b):
    return (a - b).square().flatten(1).mean(1)


def kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
