"""Other twins of an image than the one that a trained method makes, for `recipe.py` to judge beside it.

*mirrored*: the mean of an image's twin and its mirror image's, which is turned back. Only where training flips images.
*refilled*: what is above the site's pixel threshold for the map `signed_residual_top` is cut out and filled from the
twin, and the twin of that image is taken. *stitched*: of that twin only what lies in the cut; elsewhere the image.
The last two after the idea of PHANES and AutoDDPM (Bercea et al. 2023), whose second networks fill better.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ra_core.evaluation import reference_images
from ra_core.models.method import Reconstruction
from ra_core.scoring import SCORINGS, Scorer
from ra_core.selection import pixel_threshold
from ra_core.site_scorer import SiteScorer, batches

FIRST = next(scoring for scoring in SCORINGS if scoring.name == "signed_residual_top")
"""Whose map tells what is cut out."""


class Own(Reconstruction):
    """The method's own twin; others change it."""

    def __init__(self, method, images, study, machine, seed):
        super().__init__()
        self.method, self.scorings = method, method.scorings
        self.place = images, study.evaluation, machine.device, seed

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.method.reconstruct(x)

    def shared_parts(self):
        return self.method.shared_parts()


class Mirrored(Own):
    def reconstruct(self, x):
        return (self.method.reconstruct(x) + self.method.reconstruct(x.flip(-1)).flip(-1)) / 2


class Refilled(Own):
    def __init__(self, *given):
        super().__init__(*given)
        images, evaluation, device, seed = self.place
        chosen = reference_images(len(images.train), evaluation, seed)
        healthy = batches(images.train, evaluation.batch_size, chosen)
        self.first = SiteScorer.fit(self.method, Scorer(None), [FIRST], healthy, device)
        maps = [self.first.maps(x)[FIRST.name] for x in batches(images.val, evaluation.batch_size)]
        self.threshold = pixel_threshold(torch.cat(maps).numpy(), evaluation.pixel_fpr)

    def cut(self, x):
        """Where to cut, bool (N, 1, S, S), and the twin of the image that is filled there."""
        where = (self.first.maps(x)[FIRST.name] > self.threshold).to(x.device)
        return where, self.method.reconstruct(torch.where(where, self.method.reconstruct(x), x))

    def reconstruct(self, x):
        return self.cut(x)[1]


class Stitched(Refilled):
    def reconstruct(self, x):
        where, twin = self.cut(x)
        return torch.where(where, twin, x)


TWINS = {"own": Own, "mirrored": Mirrored, "refilled": Refilled, "stitched": Stitched}
