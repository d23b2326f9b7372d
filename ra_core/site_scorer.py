"""A method made ready for one site: its maps under several scorings, standardised by the site's own healthy images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ra_core.models.method import Images, Method, Reconstruction
from ra_core.scoring import HealthyMoments, HealthyStatistics, Scorer, ScoringConfig, image_scores

__all__ = ["Scored", "SiteScorer", "batches"]

Places = Callable[[int, int], list[int]]
"""From the number of a batch's first image and the batch's size to places in it; `Cases.of_batch` is one."""


@dataclass(frozen=True)
class Scored:
    """Images scored under several scorings.

    Attributes:
        scores: by scoring name, (N,) float64.
        files: by scoring name, the kept maps, float32 one after another.
    """

    scores: Mapping[str, np.ndarray]
    files: Mapping[str, IO[bytes]]

    def maps(self, scoring: str) -> np.ndarray:
        """All kept maps of a scoring, float32, flat."""
        self.files[scoring].seek(0)
        return np.fromfile(self.files[scoring], np.float32)


class SiteScorer:
    """Anomaly maps and image scores of one site's images.

    Args:
        method: a trained method; put into evaluation mode.
        scorer: makes maps from images and reconstructions.
        scorings: which maps.
        healthy: statistics by the names of those scorings that are standardised.
        device: where the method is.
    """

    def __init__(
        self,
        method: Method,
        scorer: Scorer,
        scorings: Sequence[ScoringConfig],
        healthy: Mapping[str, HealthyStatistics],
        device: torch.device,
    ) -> None:
        self.method, self.scorer, self.scorings = method.eval(), scorer, tuple(scorings)
        self.healthy, self.device = healthy, device

    @classmethod
    def fit(
        cls,
        method: Method,
        scorer: Scorer,
        scorings: Sequence[ScoringConfig],
        reference: Iterable[Tensor],
        device: torch.device,
    ) -> SiteScorer:
        """With healthy statistics from batches (N, 1, S, S) of healthy images.

        Raises:
            ValueError: fewer than two images, though a scoring is standardised.
        """
        wanted = [s for s in scorings if s.standardise]
        moments = {s.name: HealthyMoments() for s in wanted}
        unready, total, count = cls(method, scorer, scorings, {}, device), np.zeros(()), 0
        for x in reference:
            total, count = total + x.double().sum((0, 1)).numpy(), count + len(x)
            for name, maps in unready._raw_maps(x, wanted).items():
                moments[name].add(maps[:, 0].numpy())
        healthy = {name: found.statistics(total / max(count, 1)) for name, found in moments.items()}
        return cls(method, scorer, scorings, healthy, device)

    def only(self, names: Collection[str]) -> SiteScorer:
        """The same with some of the scorings; other names are passed by."""
        kept = [s for s in self.scorings if s.name in names]
        return SiteScorer(self.method, self.scorer, kept, self.healthy, self.device)

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Anomaly maps by scoring name, each (N, 1, S, S) float32 on the CPU, at least 0, of images (N, 1, S, S)."""
        maps = self._raw_maps(x, self.scorings)
        for s in self.scorings:
            if s.standardise:
                maps[s.name] = self.healthy[s.name].standardise(maps[s.name], s.signed)
        return maps

    def scores(self, images: Iterable[Tensor]) -> dict[str, np.ndarray]:
        """Image scores by scoring name, each (N,) float64, of all batches."""
        found: dict[str, list[np.ndarray]] = {s.name: [] for s in self.scorings}
        for x in images:
            maps = self.maps(x)
            for s in self.scorings:
                found[s.name].append(image_scores(maps[s.name], s))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    @contextmanager
    def scored(self, images: Iterable[Tensor], places: Places = lambda _, size: list(range(size))) -> Iterator[Scored]:
        """Scores and maps of all batches (N, 1, S, S) of images.

        Who needs exact quantiles needs all maps of a scoring at once. The other scorings' maps wait in nameless
        temporary files meanwhile, which are gone when the context ends.

        Args:
            images: batches.
            places: whose maps are kept; all images' by default.
        """
        with ExitStack() as stack:
            files = {s.name: stack.enter_context(TemporaryFile()) for s in self.scorings}
            scores: dict[str, list[np.ndarray]] = {s.name: [] for s in self.scorings}
            start = 0
            for x in images:
                maps, keep = self.maps(x), places(start, len(x))
                for s in self.scorings:
                    scores[s.name].append(image_scores(maps[s.name], s))
                    maps[s.name][keep].numpy().tofile(files[s.name])
                start += len(x)
            yield Scored({name: np.concatenate([np.zeros(0), *parts]) for name, parts in scores.items()}, files)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Pseudo-healthy twins (N, 1, S, S) on the CPU.

        Raises:
            TypeError: the method makes none.
        """
        if not isinstance(self.method, Reconstruction):
            raise TypeError(f"{type(self.method).__name__} makes no reconstruction")
        with torch.inference_mode():
            return self.method.reconstruct(x.to(self.device)).float().cpu()

    def _raw_maps(self, x: Tensor, scorings: Sequence[ScoringConfig]) -> dict[str, Tensor]:
        with torch.inference_mode():
            x = x.to(self.device)
            maps = self.method.maps(x, self.scorer, scorings)
        return {name: m.cpu() for name, m in maps.items()}


def batches(images: Images, size: int, indices: Sequence[int] | None = None) -> Iterator[Tensor]:
    """Images (N, 1, S, S) of the given indices, or all, `size` at a time and in order."""
    indices = range(len(images)) if indices is None else indices
    for start in range(0, len(indices), size):
        yield images.images(indices[start : start + size])
