"""Images of several sets as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ra_core.data.dataset import ImageSet
from ra_core.data.site_images import SiteImages

__all__ = ["JoinedImages"]


@dataclass(frozen=True)
class JoinedImages:
    """Images by index, as trainers take them.

    Attributes:
        places: each image's set, and its index there.
    """

    places: Sequence[tuple[ImageSet, int]]

    @classmethod
    def of(cls, sets: Iterable[ImageSet]) -> JoinedImages:
        """All images of the sets, one set after another."""
        return cls([(images, index) for images in sets for index in range(len(images))])

    @classmethod
    def train_and_val(cls, sites: Sequence[SiteImages]) -> tuple[JoinedImages, JoinedImages]:
        """All images of the sites that a model trains on, and all that choose its step."""
        return cls.of(site.train for site in sites), cls.of(site.val for site in sites)

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.places)

    def images(self, indices: Sequence[int]) -> Tensor:
        """Float32 (N, 1, S, S) in [0, 1]."""
        return torch.cat([images.images([index]) for images, index in (self.places[i] for i in indices)])
