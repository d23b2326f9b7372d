"""How well maps mark boxes around anomalies: the authors' counts at a threshold, the same free of scale, and an AUROC.

The authors' numbers, a box at a time (ci-ber/RA, projects/23_ra_midl/DownstreamEvaluator.py, as described in
`docs/method.md`), with A the map where it is above the threshold and 0 elsewhere, and sums over pixels:

    hit       more than 10 % of the box's pixels are above the threshold
    FP        floor(sum of A outside / max(sum of A inside, 1))
    precision = hit / (hit + FP), recall = hit, F1 = their harmonic mean, or 0

"Outside" is outside all boxes of the image. The 1 in FP is a map value: where maps are small, as RA's are, FP stays 0
whatever they mark. `box_f1_scale_free` divides by the sum inside alone, so that it is the same of maps multiplied by
any number. `box_auroc` needs no threshold: how likely a pixel of the box has a higher value than one outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from ra_core.metrics.bootstrap import Estimate, Resampling
from ra_core.metrics.inputs import BoolArray, FloatArray, finite
from ra_core.metrics.means import mean_estimate

__all__ = ["box_level"]

Place = tuple[slice, slice]

_HIT_SHARE = 0.1
_OF_GROUPS = ("box_f1", "box_f1_scale_free", "box_auroc")


def box_level(
    maps: ArrayLike,
    boxes: Sequence[Sequence[Place]],
    patients: Sequence[str],
    threshold: float | None = None,
    groups: Mapping[str, BoolArray] | None = None,
    **resampling: Unpack[Resampling],
) -> dict[tuple[str, str], Estimate]:
    """Means over boxes, by (metric, group), each box counting the same.

    `box_auroc`, and where a threshold is given `box_recall`, `box_precision`, `box_f1` and `box_f1_scale_free`, of the
    group "all"; the F1s and the AUROC of each further group. Values are in [0, 1]; `n_anomalous` counts images, and
    the note says how many boxes they have.

    Args:
        maps: (K, H, W), at least 0, higher is more anomalous.
        boxes: of each of the K images, at least one: rows and columns, within the map and not empty.
        patients: K ids; the interval draws patients, with all their boxes.
        threshold: pixels with a higher value are marked.
        groups: by name, (K,), the images that belong to it.
        resampling: see `Resampling`.

    Raises:
        ValueError: a map value is not finite, a box is empty, or lengths differ.
    """
    values = np.asarray(maps)
    if values.ndim != 3 or not len(values) == len(boxes) == len(patients):
        raise ValueError(f"maps {values.shape} and {len(patients)} patients for the boxes of {len(boxes)} images")
    found = [
        _of_image(finite(image, "map values"), places, threshold) for image, places in zip(values, boxes, strict=True)
    ]
    wanted = [(name, "all", np.ones(len(values), bool)) for name in found[0]] if found else []
    wanted += [(name, group, some) for group, some in (groups or {}).items() for name in _OF_GROUPS if name in found[0]]
    return {
        (name, group): _estimate([(found[i][name], patients[i]) for i in np.flatnonzero(images).tolist()], resampling)
        for name, group, images in wanted
    }


def _of_image(image: FloatArray, places: Sequence[Place], threshold: float | None) -> dict[str, FloatArray]:
    """By metric, one number a box, (n,); NaN where it has none. The same metrics for every image."""
    outside = np.ones(image.shape, bool)
    for place in places:
        outside[place] = False
    ranked = np.sort(image[outside])
    found = {"box_auroc": np.array([_auroc(image[place].ravel(), ranked) for place in places])}
    if threshold is not None:
        marked = np.where(image > threshold, image, 0.0)
        beside = float(marked[outside].sum())
        hits, inside = np.array([_hit(marked[place]) for place in places]).T
        precision = hits / (1 + np.floor(beside / np.maximum(inside, 1)))
        free = hits / (1 + np.floor(np.divide(beside, inside, out=np.zeros(len(places)), where=inside > 0)))
        found |= {"box_recall": hits, "box_precision": precision}
        found |= {"box_f1": _f1(precision, hits), "box_f1_scale_free": _f1(free, hits)}
    return found


def _hit(marked: FloatArray) -> tuple[float, float]:
    """Whether the box is hit, 0 or 1, and the sum of its marked values."""
    return float(np.count_nonzero(marked) > _HIT_SHARE * marked.size), float(marked.sum())


def _auroc(inside: FloatArray, ranked: FloatArray) -> float:
    """Share of pairs in which the pixel inside is higher, ties half; NaN where nothing is outside."""
    if not len(inside):
        raise ValueError("a box without a pixel")
    if not len(ranked):
        return np.nan
    below, up_to = (np.searchsorted(ranked, inside, side) for side in ("left", "right"))
    return float((below + up_to).mean() / 2 / len(ranked))


def _f1(precision: FloatArray, recall: FloatArray) -> FloatArray:
    both = precision + recall
    return np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)


def _estimate(of_images: Sequence[tuple[FloatArray, str]], resampling: Resampling) -> Estimate:
    """Mean over the boxes of several images, each with its patient."""
    values = np.concatenate([np.zeros(0), *(numbers for numbers, _ in of_images)])
    patients = [patient for numbers, patient in of_images for _ in numbers]
    known = np.isfinite(values)
    estimate = mean_estimate(
        values[known], [p for p, k in zip(patients, known, strict=True) if k], anomalous=True, **resampling
    )
    counts = f"{len(values)} boxes" if known.all() else f"{known.sum()} of {len(values)} boxes have something outside"
    note = "; ".join(part for part in (counts, estimate.note) if part)
    return replace(estimate, n_anomalous=len(of_images), note=note)
