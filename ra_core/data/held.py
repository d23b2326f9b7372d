"""Images that are in memory already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

__all__ = ["HeldImages"]


@dataclass(frozen=True)
class HeldImages:
    """Images by index, as trainers take them.

    Attributes:
        x: float32 (N, 1, S, S) in [0, 1].
    """

    x: Tensor

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.x)

    def images(self, indices: Sequence[int]) -> Tensor:
        """Float32 (N, 1, S, S) in [0, 1]."""
        return self.x[list(indices)]
