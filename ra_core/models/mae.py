"""Masked autoencoder (MAE): a transformer that predicts hidden patches of an image from those it is shown.

Trained on healthy images, it fills a hidden patch with what would be there in health. An image is reconstructed from
several masks that together hide all of it: a patch is the mean of its predictions under the masks that hid it, so
nothing of it is ever copied from the image. Masks are the same for every image.

Reference: He et al., "Masked autoencoders are scalable vision learners", CVPR 2022, without the class token, which is
there for classification. Pixels themselves are predicted, since normalised patches are no image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import PatchEmbed
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.optim import Optimizer

from ra_core.losses import squared_error
from ra_core.models.blocks import means
from ra_core.models.configs import MAEConfig
from ra_core.models.method import GradientMethod, Reconstruction, StepState
from ra_core.rng import generator

__all__ = ["MAE", "fixed_orders"]

SEED = 0
"""Of the masks at scoring: part of the method, not of a run."""


class Encoder(nn.Module):
    """Images (N, 1, S, S) and the places of V patches (N, V) -> tokens of these alone (N, V, dim)."""

    def __init__(self, config: MAEConfig, size: int) -> None:
        super().__init__()
        self.embed = PatchEmbed(size, config.patch, 1, config.dim)
        self.register_buffer("positions", _positions(size // config.patch, config.dim), persistent=False)
        self.positions: Tensor
        self.blocks = _blocks(config.depth, config)
        self.norm = nn.LayerNorm(config.dim, eps=1e-6)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Encode what is visible."""
        tokens = _take(self.embed(2 * x - 1) + self.positions, visible)  # [-1, 1] is learned from sooner
        out: Tensor = self.norm(self.blocks(tokens))
        return out


class Decoder(nn.Module):
    """Tokens of the first V patches of an order (N, P) -> all patches, in their own places, (N, P, patch²)."""

    def __init__(self, config: MAEConfig, size: int) -> None:
        super().__init__()
        self.embed = nn.Linear(config.dim, config.dim)
        self.hidden = nn.Parameter(torch.zeros(config.dim))
        self.register_buffer("positions", _positions(size // config.patch, config.dim), persistent=False)
        self.positions: Tensor
        self.blocks = _blocks(config.decoder_depth, config)
        self.norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.head = nn.Linear(config.dim, config.patch**2)

    def forward(self, seen: Tensor, order: Tensor) -> Tensor:
        """Predict all patches; only the predictions of hidden ones are trained."""
        (count, visible, width), patches = seen.shape, order.shape[1]
        hidden = self.hidden.expand(count, patches - visible, width)
        tokens = _take(torch.cat([self.embed(seen), hidden], 1), order.argsort(1))
        out: Tensor = self.head(self.norm(self.blocks(tokens + self.positions)))
        return out


class MAE(Reconstruction, GradientMethod):
    """Masked autoencoder for square grey images.

    Args:
        config: architecture and masks.
        size: side of the images, a multiple of the patch and at least two patches.

    Raises:
        ValueError: the size is neither.

    Example:
        >>> MAE(MAEConfig(), size=64).reconstruct(torch.rand(2, 1, 64, 64)).shape
        torch.Size([2, 1, 64, 64])
    """

    def __init__(self, config: MAEConfig, size: int) -> None:
        super().__init__()
        if size % config.patch or size < 2 * config.patch:
            raise ValueError(f"size {size} is no multiple of the patch, {config.patch}, or not at least two of them")
        self.config = config
        patches = (size // config.patch) ** 2
        self.visible = max(1, min(patches // 2, round(patches * (1 - config.mask_ratio))))
        self.encoder = Encoder(config, size)
        self.decoder = Decoder(config, size)
        self.apply(_initialise)
        nn.init.normal_(self.decoder.hidden, std=0.02)
        self.register_buffer("orders", fixed_orders(config.masks, patches, self.visible), persistent=False)
        self.orders: Tensor

    def reconstruct(self, x: Tensor) -> Tensor:
        """Each patch as predicted while it was hidden: (N, 1, S, S) in [0, 1] -> the same. Deterministic."""
        total = torch.zeros_like(self._cut(x))
        times = torch.zeros_like(total[:1, :, :1])  # (1, P, 1)
        for order in self.orders:
            hidden = torch.ones_like(times).index_fill(1, order[: self.visible], 0)
            total += self._predict(x, order.expand(len(x), -1)) * hidden
            times += hidden
        return self._join(total / times).clamp(0, 1)

    def shared_parts(self) -> dict[str, nn.Module]:
        """Encoder and decoder; positions are fixed and no part of them."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam for each part, with the second moment's decay that transformers want (He et al., table 8)."""
        return self.adams(lr=self.config.learning_rate, betas=(0.9, 0.95))

    def training_step(self, batch: Tensor, state: StepState) -> dict[str, float]:
        """Predict patches hidden at random, others in each image; `error` is per pixel of these."""
        order = state.noise("masks", len(batch), self.orders.shape[1]).argsort(1)
        with state.autocast():
            predicted = self._predict(batch, order)
        hidden = order[:, self.visible :]
        error = squared_error(_take(self._cut(batch), hidden), _take(predicted, hidden)).mean()
        state.descend("error", error, "encoder", "decoder")
        return means(error=error)

    def _predict(self, x: Tensor, order: Tensor) -> Tensor:
        """All patches from the first ones of `order` (N, P): (N, P, patch²)."""
        out: Tensor = self.decoder(self.encoder(x, order[:, : self.visible]), order)
        return out

    def _cut(self, x: Tensor) -> Tensor:
        """(N, 1, S, S) -> its patches (N, P, patch²), row by row."""
        return F.pixel_unshuffle(x, self.config.patch).flatten(2).transpose(1, 2)

    def _join(self, patches: Tensor) -> Tensor:
        """Back again."""
        side = self.encoder.embed.grid_size[0]
        return F.pixel_shuffle(patches.transpose(1, 2).reshape(len(patches), -1, side, side), self.config.patch)


def fixed_orders(count: int, patches: int, visible: int) -> Tensor:
    """Orders of patches of which the first `visible` are shown, always the same: (count, patches).

    Masks that follow each other show other patches, as long as there are any left, so two already hide every patch
    once, and all patches are hidden about equally often.
    """
    turns = patches // visible
    rows = []
    for number in range(count):
        lap, turn = divmod(number, turns)
        order = torch.randperm(patches, generator=generator(SEED, "masks", lap))
        rows.append(order.roll(-turn * visible))
    return torch.stack(rows)


def _blocks(depth: int, config: MAEConfig) -> nn.Sequential:
    return nn.Sequential(*(Block(config.dim, config.heads, qkv_bias=True) for _ in range(depth)))


def _positions(side: int, dim: int) -> Tensor:
    """Fixed sine-cosine embedding of each place of a square grid: (side², dim)."""
    out: Tensor = build_sincos2d_pos_embed([side, side], dim)
    return out


def _take(tokens: Tensor, places: Tensor) -> Tensor:
    """Of each image the tokens at some places: (N, P, C) and (N, V) -> (N, V, C)."""
    return tokens.take_along_dim(places[:, :, None], 1)


def _initialise(module: nn.Module) -> None:
    """As He et al. (appendix A.1): Xavier uniform weights, the patches' projection as if it were a linear layer."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight.flatten(1))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
