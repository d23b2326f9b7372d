"""Which tensors of a method sites have in common, by "part.name": what a federation exchanges, a model file holds."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ra_core.config import FederationConfig
from ra_core.models.method import Method

__all__ = ["load_shared", "shared_tensors"]

NORMS = (nn.GroupNorm, nn.BatchNorm2d, nn.LayerNorm)


def shared_tensors(method: Method, federation: FederationConfig | None = None) -> dict[str, Tensor]:
    """The live floating-point tensors, parameters and running statistics, of the parts that are shared.

    A batch norm's count of batches is an integer, and never shared.

    Args:
        method: whose tensors.
        federation: which parts, and whether norm layers stay at the site; None is all tensors of all parts.

    Raises:
        ValueError: the method has no part of a name that the federation shares.
    """
    parts = method.shared_parts()
    shared = tuple(parts) if federation is None or federation.parts is None else federation.parts
    unknown = sorted(set(shared) - set(parts))
    if unknown:
        raise ValueError(f"the method has no part '{unknown[0]}', only {', '.join(parts)}")
    found: dict[str, Tensor] = {}
    for part in shared:
        private = _norms(parts[part]) if federation is not None and federation.local_norms else set()
        for name, tensor in parts[part].state_dict().items():  # detached, but not copied
            if tensor.is_floating_point() and name.rpartition(".")[0] not in private:
                found[f"{part}.{name}"] = tensor
    return found


def load_shared(method: Method, federation: FederationConfig | None, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into the method: exactly those that `shared_tensors` gives.

    Raises:
        ValueError: names, shapes or types differ from the method's, or a value is not finite; nothing was copied.
    """
    targets = shared_tensors(method, federation)
    missing, unknown = sorted(targets.keys() - tensors.keys()), sorted(tensors.keys() - targets.keys())
    if missing or unknown:
        what = f"'{missing[0]}' is missing" if missing else f"'{unknown[0]:.80}' is not part of the model"
        raise ValueError(f"{what} ({len(missing)} missing, {len(unknown)} unknown tensors)")
    for name, target in targets.items():
        found = tensors[name]
        if found.shape != target.shape or found.dtype != target.dtype:
            expected = f"{target.dtype} {tuple(target.shape)}"
            raise ValueError(f"'{name}' is {found.dtype} {tuple(found.shape)}, not {expected}")
        if not found.isfinite().all():
            raise ValueError(f"'{name}' is not finite")
    for name, target in targets.items():
        target.copy_(tensors[name])
    method.renew()


def _norms(part: nn.Module) -> set[str]:
    """Names of the norm layers."""
    return {name for name, module in part.named_modules() if isinstance(module, NORMS)}
