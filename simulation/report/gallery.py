"""A picture of what a model does: input, pseudo-healthy twin and anomaly map of healthy and sick test images."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from torch import Tensor

from ra_core.data import ImageSet
from ra_core.evaluation import Evaluation
from ra_core.models.method import Reconstruction

__all__ = ["draw_gallery", "spread"]

COLUMNS = ("input", "pseudo-healthy", "anomaly map", "lesion mask")


def spread(scores: np.ndarray, among: Sequence[int], count: int) -> list[int]:
    """Up to `count` of the indices `among`, evenly spaced from the lowest to the highest score.

    Neither the best nor the worst cases are picked: what is shown is what there is.
    """
    ranked = sorted(among, key=lambda index: (scores[index], index))
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def draw_gallery(test: ImageSet, evaluation: Evaluation, count: int, title: str) -> bytes:
    """The gallery with the chosen scoring, as the bytes of a PNG file.

    The colour scale is fixed: 0 to three times the threshold, the same for all images; the white line on the map is
    the threshold. Healthy images stand on the left, sick ones on the right.

    Args:
        test: test images; at least one.
        evaluation: of the model on them.
        count: images shown of each kind.
        title: stands on top.
    """
    groups = _shown(test, evaluation, count)
    rows, width = max(len(group) for group in groups.values()), len(COLUMNS) * len(groups)
    with mpl.rc_context({"text.parse_math": False}):  # a title may hold a dollar sign
        figure = Figure(figsize=(1.55 * width + 0.6, 1.75 * rows + 0.9), dpi=110, layout="compressed")
        axes = figure.subplots(rows, width, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for g, (label, group) in enumerate(groups.items()):
            block = axes[:, len(COLUMNS) * g : len(COLUMNS) * (g + 1)]
            picture = _draw_group(block, test, evaluation, label, group)
        _draw_scale(figure, axes, picture, evaluation.pixel_thresholds[evaluation.chosen.name])
        figure.suptitle(f"{title}; scoring: {evaluation.chosen.name}", fontsize=9)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _shown(test: ImageSet, evaluation: Evaluation, count: int) -> dict[str, list[int]]:
    """Indices of the images shown, by label, of those labels that there are."""
    scores = evaluation.scores[evaluation.chosen.name]
    among = {
        label: [index for index, row in enumerate(test.rows) if row.label == label]
        for label in ("healthy", "anomalous")
    }
    return {label: spread(scores, indices, count) for label, indices in among.items() if indices}


def _draw_group(
    axes: NDArray[np.object_], test: ImageSet, evaluation: Evaluation, label: str, group: Sequence[int]
) -> AxesImage:
    """Rows of images of one label; the last map stands for all, since they have one scale."""
    scores = evaluation.scores[evaluation.chosen.name]
    for row, index in zip(axes, group, strict=False):  # the other label may have more images
        picture = _draw_row(row, test, evaluation, index)
        row[0].set_title(f"{label}, score {scores[index]:.3g}", fontsize=7, loc="left")
    for axis, name in zip(axes[-1], COLUMNS, strict=True):
        axis.text(0.5, -0.12, name, transform=axis.transAxes, ha="center", fontsize=8)
    return picture


def _draw_scale(figure: Figure, axes: NDArray[np.object_], picture: AxesImage, threshold: float) -> None:
    bar = figure.colorbar(picture, ax=axes, shrink=0.5, fraction=0.02)
    bar.set_ticks([0, threshold, 3 * threshold], labels=["0", f"threshold\n{threshold:.2g}", f"{3 * threshold:.2g}"])
    bar.ax.tick_params(labelsize=7)


def _draw_row(axes: Sequence[Axes], test: ImageSet, evaluation: Evaluation, index: int) -> AxesImage:
    x = test.images([index])
    found = evaluation.scorer.maps(x)[evaluation.chosen.name][0, 0].numpy()
    threshold = evaluation.pixel_thresholds[evaluation.chosen.name]
    axes[0].imshow(x[0, 0].numpy(), cmap="gray", vmin=0, vmax=1)
    if isinstance(evaluation.scorer.method, Reconstruction):
        axes[1].imshow(evaluation.scorer.reconstruct(x)[0, 0].numpy(), cmap="gray", vmin=0, vmax=1)
    else:
        _draw_nothing(axes[1], "makes none")
    picture = axes[2].imshow(found, cmap=mpl.colormaps["inferno"], vmin=0, vmax=3 * threshold)
    if found.min() < threshold < found.max():
        axes[2].contour(found, [threshold], colors="white", linewidths=0.4)
    _draw_mask(axes[3], x, test.masks([index])[0])
    return picture


def _draw_mask(axis: Axes, x: Tensor, mask: Tensor | None) -> None:
    if mask is None:
        _draw_nothing(axis, "not known")
        return
    axis.imshow(torch.where(mask, 1.0, 0.35 * x[0, 0]).numpy(), cmap="gray", vmin=0, vmax=1)


def _draw_nothing(axis: Axes, why: str) -> None:
    axis.text(0.5, 0.5, why, ha="center", va="center", fontsize=7, transform=axis.transAxes)
