"""The pictures that a site uses, as columns: what most checks compute on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ra_core.data.checks.finding import Mention
from ra_core.data.manifest import Row
from ra_core.data.scan.records import THUMBNAIL, Entry, Picture, Scan

__all__ = ["STATISTICS", "Pictures", "unit"]

STATISTICS = ("mean", "spread", "foreground", "sharpness", "aspect")
"""Plain numbers of a picture: four of `Picture`, and the natural logarithm of height over width."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Pictures:
    """N pictures of accepted files that a row tells split and label of, in the scan's order.

    Attributes:
        paths, frames, digests: of each picture.
        thumbnails: uint8 (N, THUMBNAIL * THUMBNAIL).
        statistics: float64 (N, 5), in the order of `STATISTICS`.
        texts: (N,), see `Picture.text`.
        splits, labels: (N,), text.
        patients: (N,), keys of the rows.
    """

    paths: tuple[str, ...] = field(repr=False)
    frames: tuple[int, ...]
    digests: tuple[str, ...]
    thumbnails: NDArray[np.uint8]
    statistics: FloatArray
    texts: FloatArray
    splits: NDArray[np.str_]
    labels: NDArray[np.str_]
    patients: NDArray[np.object_] = field(repr=False)

    @classmethod
    def of(cls, scan: Scan, rows: Sequence[Row]) -> Pictures:
        """Those of a scan that have a row."""
        row_of = {row.path: row for row in rows}
        chosen = [
            (entry, picture, row_of[entry.path])
            for entry in scan.accepted
            if entry.path in row_of
            for picture in entry.pictures
        ]
        count = len(chosen)
        return cls(
            paths=tuple(entry.path for entry, _, _ in chosen),
            frames=tuple(picture.frame for _, picture, _ in chosen),
            digests=tuple(picture.digest for _, picture, _ in chosen),
            thumbnails=np.array([p.thumbnail.ravel() for _, p, _ in chosen], np.uint8).reshape(count, THUMBNAIL**2),
            statistics=np.array([_statistics(e, p) for e, p, _ in chosen], np.float64).reshape(count, len(STATISTICS)),
            texts=np.array([picture.text for _, picture, _ in chosen], np.float64),
            splits=np.array([row.split for _, _, row in chosen], np.str_),
            labels=np.array([row.label for _, _, row in chosen], np.str_),
            patients=np.array([row.patient_id for _, _, row in chosen], object),
        )

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def healthy(self) -> NDArray[np.intp]:
        """Indices of those that are, ascending."""
        return np.flatnonzero(self.labels == "healthy")

    def numbers(self, chosen: NDArray[np.intp]) -> dict[str, FloatArray]:
        """Statistics of n pictures: (n,) by name, in the order of `STATISTICS`."""
        return dict(zip(STATISTICS, self.statistics[chosen].T, strict=True))

    def weights(self, indices: NDArray[np.intp]) -> FloatArray:
        """Weights of some pictures that add up to 1: each patient weighs as one."""
        _, patient, counts = np.unique(self.patients[indices], return_inverse=True, return_counts=True)
        return np.asarray(1 / (counts[patient] * len(counts)))

    def mention(self, index: int, remark: str = "", like: int | None = None) -> Mention:
        """A picture by index, and the one that it is compared with."""
        other = None if like is None else (self.paths[like], self.frames[like])
        return Mention(self.paths[index], self.frames[index], remark, other)


def unit(thumbnails: NDArray[np.generic]) -> NDArray[np.float32]:
    """Thumbnails (N, P) as float32 vectors of mean 0 and length 1, whose products are correlations.

    Constant ones become 0.
    """
    centred = thumbnails.astype(np.float32)
    centred -= centred.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, np.finfo(np.float32).tiny), np.float32)


def _statistics(entry: Entry, picture: Picture) -> tuple[float, ...]:
    rows, columns = entry.facts.shape if entry.facts else (1, 1)
    return picture.mean, picture.spread, picture.foreground, picture.sharpness, float(np.log(rows / columns))
