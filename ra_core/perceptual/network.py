"""LPIPS v0.1, a distance between images that agrees with people: Zhang et al., CVPR 2018, arXiv 1801.03924.

Features φ_k of both images are scaled to unit length at every pixel; their squared difference is weighted by channel
with a learned head w_k and summed over channels: d_k = Σ_c w_kc (φ̂_kc(a) − φ̂_kc(b))². The distance map is the sum of
all d_k, enlarged to the image's size; the distance is the sum of their means.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ra_core.config import PerceptualConfig
from ra_core.errors import WeightsError
from ra_core.hashing import tensor_digest
from ra_core.perceptual.weights import load_backbone
from ra_core.perceptual.without_compiler import without_compiler

if TYPE_CHECKING:
    import lpips

__all__ = ["Perceptual", "unit_length"]

PAIRS = 16
"""Compared at a time on a processor: 32 of 128 x 128 at once take a sixth longer. With fewer, torch may take other
convolutions, whose last bits are other ones."""


class Perceptual:
    """A frozen perceptual network. Make it with `Perceptual.load`.

    Images are greys (N, 1, H, W) in [0, 1], H and W at least 32, moved to `device`. All is in float32 without TF32,
    also under autocast, and no result depends on a random draw. Gradients flow to the images, never to the network.

    Attributes:
        device: where the network is.
        digest: SHA-256 over all its tensors (`tensor_digest`).
    """

    def __init__(self, net: lpips.LPIPS, device: torch.device) -> None:
        self._net = net.eval().requires_grad_(False).to(device, torch.float32)
        self.device = device
        self.digest = tensor_digest(self._net.state_dict())
        # On two cores with AVX-512 the paper's map of 16 images takes 195 ms in place of 256.
        self._layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
        self._net.to(memory_format=self._layout)

    @classmethod
    def load(cls, config: PerceptualConfig, device: str | torch.device = "cpu") -> Perceptual:
        """The network a config asks for, from files on this machine alone.

        Raises:
            WeightsError: the backbone's weights are nowhere, damaged, or of another network; says where to get them.
        """
        weights, source = load_backbone(config)
        net = _untrained(config.net)
        _fill(net.net, weights, f"{source}: not the weights of '{config.net}'")
        return cls(net, torch.device(device))

    def features(self, x: Tensor) -> list[Tensor]:
        """Feature maps [(N, C_k, H_k, W_k), ...] after the rectifiers that LPIPS looks at, finest first.

        Raises:
            ValueError: `x` isn't (N, 1, H, W).
        """
        if x.dim() != 4 or x.shape[1] != 1:
            raise ValueError(f"expected greys (N, 1, H, W), not {tuple(x.shape)}")
        with _exact_float32(self.device):
            rgb = 2 * x.to(self.device, torch.float32).expand(-1, 3, -1, -1) - 1
            scaled = self._net.scaling_layer(rgb).contiguous(memory_format=self._layout)
            return list(self._net.net(scaled))

    def distance_map(self, a: Tensor, b: Tensor) -> Tensor:
        """LPIPS at every pixel: (N, 1, H, W), at least 0, symmetric, 0 where equal.

        Raises:
            ValueError: the images aren't (N, 1, H, W) both.
        """
        count = PAIRS if self.device.type == "cpu" else max(1, len(a))
        pieces = zip(torch.split(a, count), torch.split(b, count), strict=True)
        return torch.cat([self._distance_map(some_a, some_b) for some_a, some_b in pieces])

    def _distance_map(self, a: Tensor, b: Tensor) -> Tensor:
        size = a.shape[2:]
        levels = [F.interpolate(level, size, mode="bilinear", align_corners=False) for level in self._levels(a, b)]
        return torch.stack(levels).sum(0)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """LPIPS of each pair: (N,), at least 0, the number that papers report.

        Raises:
            ValueError: the images aren't (N, 1, H, W) both.
        """
        return torch.stack([level.mean((1, 2, 3)) for level in self._levels(a, b)]).sum(0)

    def _levels(self, a: Tensor, b: Tensor) -> list[Tensor]:
        """The d_k: [(N, 1, H_k, W_k), ...]."""
        if a.shape != b.shape:
            raise ValueError(f"expected two images of one shape, not {tuple(a.shape)} and {tuple(b.shape)}")
        # one pass, since torch convolves one image alone at half the speed of several
        both = zip(self._net.lins, self.features(torch.cat([a, b])), strict=True)
        with _exact_float32(self.device):
            pairs = [(head, *unit_length(found).chunk(2)) for head, found in both]
            return [head((u - v) ** 2) for head, u, v in pairs]


def unit_length(features: Tensor) -> Tensor:
    """Features (N, C, H, W) divided by their length over channels, at every place."""
    # the gradient of a norm is finite at 0, that of a root is not
    norm: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (norm + 1e-10)  # the constant is LPIPS' own


@contextmanager
def _exact_float32(device: torch.device) -> Iterator[None]:
    """Neither autocast nor TF32, and the same convolution algorithm each time."""
    with (
        torch.autocast(device.type, enabled=False),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        yield


def _untrained(name: str) -> lpips.LPIPS:
    """LPIPS with its learned heads, which ship with the package, and a backbone that is still to be filled."""
    with without_compiler():
        import lpips  # noqa: PLC0415 - it takes a second, and `--help` doesn't need it

    # what torchvision draws all the same must not shift what the run draws
    with torch.random.fork_rng(devices=[]), _NothingDrawn(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package calls torchvision by deprecated names
        return lpips.LPIPS(net=name, pnet_rand=True, verbose=False)


class _NothingDrawn(TorchFunctionMode):
    """Leaves new weights as they are: to draw AlexNet's, of its unused classifier too, takes half a second."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return named["tensor"] if "tensor" in named else args[0]
        return func(*args, **named)


def _fill(backbone: torch.nn.Module, weights: Mapping[str, Tensor], complaint: str) -> None:
    """Copy torchvision's `features.3.weight` to the package's `slice2.3.weight`, and so on."""
    for name, parameter in backbone.state_dict().items():
        source = "features." + name.split(".", 1)[1]
        found = weights.get(source)
        if found is None or found.shape != parameter.shape:
            shape = "missing" if found is None else f"of shape {tuple(found.shape)}, not {tuple(parameter.shape)}"
            raise WeightsError(f"{complaint} ({source} is {shape})", "give the file of the network in `perceptual.net`")
        if not found.isfinite().all():
            raise WeightsError(f"{complaint} ({source} holds NaN or infinity)", "get the file again")
        parameter.copy_(found)
