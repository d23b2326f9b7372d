"""Kinds of norm layers, by the names that settings have for them."""

from typing import Literal

__all__ = ["Norm"]

Norm = Literal["group", "frozen_batch", "batch"]
"""group: GroupNorm, nothing to average over sites. frozen_batch: BatchNorm whose statistics stay at mean 0 and
variance 1, so only a learned scale and shift, as the authors' trainer has it. batch: BatchNorm in train mode."""
