"""Which tensors of a method a federation exchanges, by "part.name"."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ra_core.config import FederationConfig
from ra_core.models.method import GradientMethod

__all__ = ["load_shared", "shared_tensors"]

NORMS = (nn.GroupNorm, nn.BatchNorm2d, nn.LayerNorm)


def shared_tensors(method: GradientMethod, federation: FederationConfig) -> dict[str, Tensor]:
    """The live floating-point tensors that are shared. Running statistics of batch norms never are.

    Raises:
        ValueError: the method has no part of a name that the federation shares.
    """
    parts = method.shared_parts()
    unknown = sorted(set(federation.parts) - set(parts))
    if unknown:
        raise ValueError(f"the method has no part '{unknown[0]}', only {', '.join(parts)}")
    found: dict[str, Tensor] = {}
    for part in federation.parts:
        norms = (
            {name for name, m in parts[part].named_modules() if isinstance(m, NORMS)}
            if federation.local_norms
            else set()
        )
        for name, parameter in parts[part].named_parameters():
            if name.rpartition(".")[0] not in norms:
                found[f"{part}.{name}"] = parameter.data
    return found


def load_shared(method: GradientMethod, federation: FederationConfig, tensors: Mapping[str, Tensor]) -> None:
    """Copy received tensors into the method.

    Raises:
        ValueError: names or shapes differ from the method's, or a value is not finite; nothing was copied.
    """
    targets = shared_tensors(method, federation)
    if targets.keys() != tensors.keys():
        raise ValueError(f"{len(targets.keys() ^ tensors.keys())} tensors are missing or unknown")
    for name, target in targets.items():
        if tensors[name].shape != target.shape:
            raise ValueError(f"'{name}' has shape {tuple(tensors[name].shape)}, not {tuple(target.shape)}")
        if not tensors[name].isfinite().all():
            raise ValueError(f"'{name}' is not finite")
    for name, target in targets.items():
        target.copy_(tensors[name])
