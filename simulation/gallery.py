"""A picture of what a model does: input, pseudo-healthy twin and anomaly map of healthy and sick test images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from ra_core.data import ImageSet
from ra_core.evaluation import Evaluation
from ra_core.storage import write_atomically

__all__ = ["draw_gallery", "spread"]

COLUMNS = ("input", "pseudo-healthy", "anomaly map", "lesion mask")


def spread(scores: np.ndarray, among: Sequence[int], count: int) -> list[int]:
    """Up to `count` of the indices `among`, evenly spaced from the lowest to the highest score.

    Neither the best nor the worst cases are picked: what is shown is what there is.
    """
    ranked = sorted(among, key=lambda index: (scores[index], index))
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def draw_gallery(path: Path, test: ImageSet, evaluation: Evaluation, count: int, title: str) -> None:
    """Write the gallery PNG with the chosen scoring.

    The colour scale is fixed: 0 to three times the threshold, the same for all images; the white line on the map is
    the threshold. Healthy images stand on the left, sick ones on the right.

    Args:
        path: of the PNG.
        test: test images.
        evaluation: of the model on them.
        count: images shown of each kind.
        title: stands on top.
    """
    scores = evaluation.scores[evaluation.chosen.name]
    labels = [row.label for row in test.rows]
    groups = {}
    for label in ("healthy", "anomalous"):
        among = [i for i, found in enumerate(labels) if found == label]
        if among:
            groups[label] = spread(scores, among, count)
    rows = max(len(group) for group in groups.values())
    width = len(COLUMNS) * len(groups)
    figure = Figure(figsize=(1.55 * width + 0.6, 1.75 * rows + 0.9), dpi=110, layout="compressed")
    axes = figure.subplots(rows, width, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    picture: AxesImage | None = None
    for g, (label, group) in enumerate(groups.items()):
        for r, index in enumerate(group):
            picture = _draw_row(list(axes[r, len(COLUMNS) * g :]), test, evaluation, index)
            axes[r, len(COLUMNS) * g].set_title(f"{label}, score {scores[index]:.3g}", fontsize=7, loc="left")
        for c, name in enumerate(COLUMNS):
            axes[-1, len(COLUMNS) * g + c].text(
                0.5, -0.12, name, transform=axes[-1, len(COLUMNS) * g + c].transAxes, ha="center", fontsize=8
            )
    threshold = evaluation.thresholds[evaluation.chosen.name]
    assert picture is not None  # noqa: S101 - a test set has at least one image
    bar = figure.colorbar(picture, ax=axes, shrink=0.5, fraction=0.02)
    bar.set_ticks([0, threshold, 3 * threshold], labels=["0", f"threshold\n{threshold:.2g}", f"{3 * threshold:.2g}"])
    bar.ax.tick_params(labelsize=7)
    figure.suptitle(f"{title}; scoring: {evaluation.chosen.name}", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _draw_row(axes: Sequence[Axes], test: ImageSet, evaluation: Evaluation, index: int) -> AxesImage:
    x = test.images([index])
    found = evaluation.scorer.maps(x)[evaluation.chosen.name][0, 0].numpy()
    threshold = evaluation.thresholds[evaluation.chosen.name]
    axes[0].imshow(x[0, 0].numpy(), cmap="gray", vmin=0, vmax=1)
    axes[1].imshow(evaluation.scorer.reconstruct(x)[0, 0].numpy(), cmap="gray", vmin=0, vmax=1)
    picture = axes[2].imshow(found, cmap=mpl.colormaps["inferno"], vmin=0, vmax=3 * threshold)
    if found.min() < threshold < found.max():
        axes[2].contour(found, [threshold], colors="white", linewidths=0.4)
    _draw_mask(axes[3], x, test.masks([index])[0])
    return picture


def _draw_mask(axis: Axes, x: Tensor, mask: Tensor | None) -> None:
    if mask is None:
        axis.text(0.5, 0.5, "not known", ha="center", va="center", fontsize=7, transform=axis.transAxes)
        return
    axis.imshow(torch.where(mask, 1.0, 0.35 * x[0, 0]).numpy(), cmap="gray", vmin=0, vmax=1)
