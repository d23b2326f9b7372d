"""The images of some manifest rows as tensors, read when asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ra_core.config import LimitsConfig, PreprocessingConfig
from ra_core.data.boxes import parse_boxes
from ra_core.data.cache import ArrayCache, content_hash, part_of
from ra_core.data.geometry import Geometry, Place
from ra_core.data.image import prepare
from ra_core.data.manifest import Label, Row
from ra_core.data.readers import (
    READER_VERSION,
    Facts,
    Reading,
    Reason,
    Source,
    kind_of,
    open_mask,
    open_source,
    upright_box,
    usable,
)
from ra_core.data.readers.reading import USUAL_LIMITS
from ra_core.errors import DataError

__all__ = ["ImageSet", "boxes_on_square"]


class ImageSet:
    """Preprocessed images by index. Memory doesn't grow with their number.

    A file of several frames or slices is an image for each that is in the range of the study and not empty.

    Args:
        rows: one a file, in the order of the indices; `Manifest.select` gives them.
        root: the data root that the rows' paths are relative to.
        preprocessing: how pixels become images.
        cache: folder for preprocessed images, kept between runs; None reads the files each time.
        limits: what the site takes for fit.
        frames: which pictures of a file are images, by the rows' paths, where a scan has told; without it the files are
            opened to find out.

    Attributes:
        rows: one an image: that of its file.
        frames: which picture of its file each image is.

    Raises:
        DataError: `frames` is not given, and a file of several pictures can't be read or has none in range, or a file
            is nothing that is read.

    Example:
        >>> rows = manifest.select(split="train")  # doctest: +SKIP
        >>> ImageSet(rows, manifest.root, PreprocessingConfig(), None).images([0, 1]).shape  # doctest: +SKIP
        torch.Size([2, 1, 128, 128])
    """

    def __init__(
        self,
        rows: Sequence[Row],
        root: Path,
        preprocessing: PreprocessingConfig,
        cache: Path | None,
        limits: LimitsConfig = USUAL_LIMITS,
        frames: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self.root = root
        self.preprocessing = preprocessing
        self._reading = Reading.of(preprocessing, limits)
        self._cache = ArrayCache(part_of(cache, preprocessing)) if cache else None
        images = [
            (row, frame)
            for row in rows
            for frame in (self._usable(root / row.path) if frames is None else frames[row.path])
        ]
        self.rows = tuple(row for row, _ in images)
        self.frames = tuple(frame for _, frame in images)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> tuple[str, ...]:
        """A name of each image that stays the same, of file and frame: draws among a patient's images go by it."""
        return tuple(f"{row.path} {frame}" for row, frame in zip(self.rows, self.frames, strict=True))

    def of_patients(self, wanted: Callable[[str], bool]) -> ImageSet:
        """Those of the patients whose ids are wanted, in the same order."""
        return self._where(lambda row: wanted(row.patient_id))

    def of_label(self, label: Label) -> ImageSet:
        """The healthy or the anomalous ones, in the same order."""
        return self._where(lambda row: row.label == label)

    def _where(self, wanted: Callable[[Row], bool]) -> ImageSet:
        found = copy(self)
        kept = [index for index, row in enumerate(self.rows) if wanted(row)]
        found.rows = tuple(self.rows[index] for index in kept)
        found.frames = tuple(self.frames[index] for index in kept)
        return found

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
        return [self._mask(index) for index in indices]

    def boxes(self, indices: Sequence[int]) -> list[tuple[Place, ...]]:
        """Boxes around the anomalies of each image, in whole pixels of (S, S); none where none are known.

        Raises:
            DataError: the boxes are those of a volume or of several frames, reach beyond their picture by more than a
                pixel, or the file can't be read.
        """
        return [self._boxes(self.rows[index]) if self.rows[index].boxes else () for index in indices]

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

        Of each image: its file's content, frame, label, pathology, lesion mask, boxes and which of the set's patients
        it shows. It tells whether a resumed run sees the same data, and holds no name.

        Raises:
            DataError: a file can't be read.
        """
        patients: dict[str, int] = {}
        facts = []
        for row, frame in zip(self.rows, self.frames, strict=True):
            files = [content_hash(self.root / name) for name in (row.path, row.lesion_mask) if name]
            patient = patients.setdefault(row.patient_id, len(patients))
            facts.append([*files, frame, row.label, row.pathology, patient, *([row.boxes] if row.boxes else [])])
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _usable(self, path: Path) -> list[int]:
        if kind_of(path) == "raster" or _opened(path, self._reading, *_state(path)).facts.frames == 1:
            return [0]  # one picture, which is judged when it is read

        def compute() -> NDArray[np.float32]:
            return np.array(usable(_opened(path, self._reading, *_state(path)), self._reading), np.float32)

        frames = [int(frame) for frame in self._kept(path, "frames", compute)]
        if not frames:
            hint = "widen preprocessing.slices, or leave the file out"
            raise DataError(f"{path}: no slice in the range shows anything", hint, Reason.CONSTANT_IMAGE)
        return frames

    def heights(self) -> Iterator[float | None]:
        """Where in its file each image lies, from 0 for the first picture to 1 for the last; opened one by one.

        None where the file has one picture: nothing says where in the body that was taken.
        """
        for row, frame in zip(self.rows, self.frames, strict=True):
            path = self.root / row.path
            last = 0 if kind_of(path) == "raster" else _opened(path, self._reading, *_state(path)).facts.frames - 1
            yield frame / last if last else None

    def grids(self) -> Iterator[tuple[tuple[int, int], tuple[float, float] | None]]:
        """Rows and columns of each picture in its file, and millimetres between them where known; opened one by one."""
        for row in self.rows:
            path = self.root / row.path
            facts = _opened(path, self._reading, *_state(path)).facts
            yield facts.shape, facts.spacing

    def _pixels(self, index: int) -> NDArray[np.float32]:
        path, frame = self.root / self.rows[index].path, self.frames[index]

        def compute() -> NDArray[np.float32]:
            return prepare(_opened(path, self._reading, *_state(path)).picture(frame), self.preprocessing).pixels

        return self._kept(path, str(frame), compute)

    def _kept(self, path: Path, what: str, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        if self._cache is None:
            return compute()
        key = f"{content_hash(path)}/{what}/{self.preprocessing.digest()}/{READER_VERSION}"
        return self._cache.get(key, compute)

    def _mask(self, index: int) -> Tensor | None:
        row, size = self.rows[index], self.preprocessing.size
        if row.label == "healthy":
            return torch.zeros(size, size, dtype=torch.bool)
        if not row.lesion_mask:
            return None
        path, mask = self.root / row.path, self.root / row.lesion_mask
        facts = _opened(path, self._reading, *_state(path)).facts
        inside = _opened_mask(mask, facts, self._reading, *_state(mask)).picture(self.frames[index]).pixels > 0
        return torch.from_numpy(Geometry.of(facts.shape, facts.spacing, size).to_square(inside))

    def _boxes(self, row: Row) -> tuple[Place, ...]:
        path = self.root / row.path
        return boxes_on_square(row, _opened(path, self._reading, *_state(path)).facts, path, self.preprocessing.size)


def boxes_on_square(row: Row, facts: Facts, path: Path, size: int) -> tuple[Place, ...]:
    """A row's boxes, drawn on the picture as its file stores it, in pixels of the preprocessed image of side `size`.

    Args:
        row: of the manifest.
        facts: of its file.
        path: of its file, for the error.
        size: S.

    Raises:
        DataError: as `ImageSet.boxes`.
    """
    if facts.kind == "nifti" or facts.frames > 1:
        hint = "give a lesion_mask, or the slices in files of their own"
        raise DataError(f"{path}: boxes don't say on which slice they are", hint, Reason.BOX_UNFIT)
    height, width = facts.turn.pair(facts.shape)
    boxes = parse_boxes(row.boxes)
    if any(box.right > width + 1 or box.bottom > height + 1 for box in boxes):
        hint = "give boxes in pixels of the file's own picture, from its upper left corner"
        raise DataError(f"{path}: a box reaches beyond {height} × {width} pixels", hint, Reason.BOX_UNFIT)
    upright = (upright_box(box, facts.turn, facts.shape) for box in boxes)
    return Geometry.of(facts.shape, facts.spacing, size).boxes_to_square(upright)


# One file is held, and one mask: the slices of a volume, asked for one after another, are read together.


@lru_cache(maxsize=1)
def _opened(path: Path, reading: Reading, _size: int, _mtime_ns: int) -> Source:
    return open_source(path, reading)


@lru_cache(maxsize=1)
def _opened_mask(path: Path, image: Facts, reading: Reading, _size: int, _mtime_ns: int) -> Source:
    return open_mask(path, image, reading)


def _state(path: Path) -> tuple[int, int]:
    """Changes with the file."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0  # it is told when it is opened
    return stat.st_size, stat.st_mtime_ns
