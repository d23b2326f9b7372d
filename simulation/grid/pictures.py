"""A few sick test images of each site and what each model makes of them, small, to be laid side by side."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ra_core.data import ImageSet
from ra_core.evaluation import Evaluation
from ra_core.models.method import Reconstruction
from simulation.grid.result import CellResult
from simulation.places import Place

__all__ = ["BRIGHTEST", "Album", "Strip", "albums", "chosen_of", "draw_inputs", "draw_outputs", "file_of"]

SHOWN = 3
"""Images of a site."""

BRIGHTEST = 3.0
"""Value of an anomaly map, in thresholds of the model at the site, that has the brightest colour."""

ARMS_SHOWN = ("local", "pooled", "fedavg")

TINY = 1e-12
"""In place of a threshold of 0: whatever is above it is brightest."""

GAP = 2
"""White pixels between pictures."""


@dataclass(frozen=True)
class Strip:
    """What one model makes of a site's images.

    Attributes:
        method, arm: that it is of.
        png: a file; a row an image.
    """

    method: str
    arm: str
    png: bytes


@dataclass(frozen=True)
class Album:
    """Pictures of a site.

    Attributes:
        site: its name.
        inputs: PNG file of its images and of their lesions; a row an image.
        strips: of models, in the study's order.
    """

    site: str
    inputs: bytes
    strips: tuple[Strip, ...]

    @property
    def arms(self) -> list[tuple[str, list[Strip]]]:
        """Strips by way to train."""
        found = [(arm, [strip for strip in self.strips if strip.arm == arm]) for arm in ARMS_SHOWN]
        return [(arm, strips) for arm, strips in found if strips]


def file_of(out: Path, site: str, result: CellResult) -> Path:
    """Where a cell's strip of a site lies in a study's folder: one of another model under the same key isn't it."""
    return out / "pictures" / site / f"{result.key}.{result.made_of[:8]}.png"


def albums(out: Path, places: Iterable[Place], results: Sequence[CellResult]) -> list[Album]:
    """Pictures by site, as far as cells have left any and the site's config lets them be shown.

    Of each method those of its lowest seed, and of models trained at the site alone or at all sites.

    Raises:
        DataError: an image can't be read any more.
        OSError: a picture can't be read.
    """
    lowest = {result.method: result.seed for result in sorted(results, key=lambda result: -result.seed)}
    found = []
    for place in places if results else ():
        strips = [
            Strip(result.method, result.arm, file.read_bytes())
            for result in results
            if result.arm in ARMS_SHOWN and result.variant in ("", place.name) and result.seed == lowest[result.method]
            if (file := file_of(out, place.name, result)).exists()
        ]
        if strips and place.config.data.pictures:
            found.append(Album(place.name, draw_inputs(place.images.test), tuple(strips)))
    return found


def draw_inputs(test: ImageSet) -> bytes:
    """Images, and beside each the same, darkened, with its lesion white where that is known: a PNG file.

    Args:
        test: with a sick image at least.
    """
    chosen = chosen_of(test)
    rows = []
    for image, mask in zip(test.images(chosen)[:, 0], test.masks(chosen), strict=True):
        dark = 0.35 * image
        rows.append([_grey(image), _grey(dark if mask is None else torch.where(mask, 1.0, dark))])
    return _png(rows)


def draw_outputs(test: ImageSet, evaluation: Evaluation) -> bytes:
    """Of the same images, the pseudo-healthy twin of a method that draws one, and the anomaly map: a PNG file."""
    x = test.images(chosen_of(test))
    name, scorer = evaluation.chosen.name, evaluation.scorer
    brightest = max(BRIGHTEST * evaluation.pixel_thresholds[name], TINY)
    columns = [[_coloured(found / brightest) for found in scorer.maps(x)[name][:, 0]]]
    if isinstance(scorer.method, Reconstruction):
        columns.insert(0, [_grey(twin) for twin in scorer.reconstruct(x)[:, 0]])
    return _png([*zip(*columns, strict=True)])


def chosen_of(test: ImageSet) -> list[int]:
    """Sick images, evenly spaced in the order of the manifest: no score picks them, so they are the same for all."""
    sick = [index for index, row in enumerate(test.rows) if row.label == "anomalous"]
    return [sick[place] for place in np.linspace(0, len(sick) - 1, min(SHOWN, len(sick))).round().astype(int)]


def _grey(image: Tensor) -> NDArray[np.uint8]:
    return (image.clamp(0, 1).unsqueeze(-1).expand(-1, -1, 3) * 255).round().to(torch.uint8).cpu().numpy()


def _coloured(found: Tensor) -> NDArray[np.uint8]:
    colours: NDArray[np.uint8] = mpl.colormaps["inferno"](found.clamp(0, 1).cpu().numpy(), bytes=True)
    return colours[..., :3]


def _png(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> bytes:
    size = rows[0][0].shape[0]
    across, down = ((size + GAP) * count - GAP for count in (len(rows[0]), len(rows)))
    sheet = np.full((down, across, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = (size + GAP) * i, (size + GAP) * j
            sheet[top : top + size, left : left + size] = picture
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
