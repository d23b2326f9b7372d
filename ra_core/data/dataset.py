"""The images of some manifest rows as tensors, read when asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ra_core.config import PreprocessingConfig
from ra_core.data.cache import ArrayCache, content_hash
from ra_core.data.image import load_image, load_mask
from ra_core.data.manifest import Row
from ra_core.data.readers import READER_VERSION

__all__ = ["ImageSet"]


class ImageSet:
    """Preprocessed images by index. Memory doesn't grow with their number.

    Args:
        rows: one an image, in the order of the indices; `Manifest.select` gives them.
        root: the data root that the rows' paths are relative to.
        preprocessing: how pixels become images.
        cache: folder for preprocessed images, kept between runs; None reads the files each time.

    Example:
        >>> rows = manifest.select(split="train")  # doctest: +SKIP
        >>> ImageSet(rows, manifest.root, PreprocessingConfig(), None).images([0, 1]).shape  # doctest: +SKIP
        torch.Size([2, 1, 128, 128])
    """

    def __init__(self, rows: Sequence[Row], root: Path, preprocessing: PreprocessingConfig, cache: Path | None) -> None:
        self.rows = tuple(rows)
        self.root = root
        self.preprocessing = preprocessing
        self._cache = ArrayCache(cache) if cache else None

    def __len__(self) -> int:
        return len(self.rows)

    def images(self, indices: Sequence[int]) -> Tensor:
        """Float32 (N, 1, S, S) in [0, 1].

        Raises:
            DataError: a file can't be read or is unfit; names it and the reason.
        """
        size = self.preprocessing.size
        batch = torch.empty(len(indices), 1, size, size)
        for slot, index in enumerate(indices):
            batch[slot] = torch.from_numpy(self._pixels(index))
        return batch

    def masks(self, indices: Sequence[int]) -> list[Tensor | None]:
        """Where the lesions are, bool (S, S) an image: empty for a healthy image, None where it is not known.

        Raises:
            DataError: a mask can't be read, or has not the size of its image.
        """
        return [self._mask(self.rows[index]) for index in indices]

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read every image once, which fills the cache; `progress(done, total)` is called after each.

        Raises:
            DataError: as `images`.
        """
        for index in range(len(self)):
            self._pixels(index)
            if progress:
                progress(index + 1, len(self))

    def fingerprint(self) -> str:
        """SHA-256, in hex, over all that a result depends on, in the order of the indices.

        Of each image: its content, label, pathology, lesion mask and which of the set's patients it shows. It tells
        whether a resumed run sees the same data, and holds no name.

        Raises:
            DataError: a file can't be read.
        """
        patients: dict[str, int] = {}
        facts = []
        for row in self.rows:
            files = [content_hash(self.root / name) for name in (row.path, row.lesion_mask) if name]
            facts.append([*files, row.label, row.pathology, patients.setdefault(row.patient_id, len(patients))])
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _pixels(self, index: int) -> NDArray[np.float32]:
        path = self.root / self.rows[index].path

        def compute() -> NDArray[np.float32]:
            return load_image(path, self.preprocessing).pixels

        if self._cache is None:
            return compute()
        return self._cache.get(f"{content_hash(path)}/{self.preprocessing.digest()}/{READER_VERSION}", compute)

    def _mask(self, row: Row) -> Tensor | None:
        if row.label == "healthy":
            size = self.preprocessing.size
            return torch.zeros(size, size, dtype=torch.bool)
        if not row.lesion_mask:
            return None
        return torch.from_numpy(load_mask(self.root / row.lesion_mask, self.root / row.path, self.preprocessing))
