"""The method: model, losses, training, scoring, metrics and data. Knows no network and no Flower.

>>> import ra_core
>>> model = ra_core.load("model")  # doctest: +SKIP
>>> result = model.score("scan.dcm")  # doctest: +SKIP
>>> result.map, result.score, result.decision  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ra_core.model import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """`load` brings torch along, so it is imported when first asked for."""
    if name != "load":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from ra_core.model import load  # noqa: PLC0415

    return load
