"""How like its reconstruction an image is: a healthy one as a whole, a sick one inside its lesions and elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from ra_core import metrics
from ra_core.data import ImageSet, SiteImages
from ra_core.perceptual import Perceptual
from ra_core.results import ResultRow
from ra_core.site_scorer import SiteScorer, batches
from ra_core.table import Table

__all__ = ["healed", "rebuilt"]

Compare = Callable[[Tensor, Tensor], np.ndarray]
"""From images and reconstructions (N, 1, S, S)."""


def rebuilt(site: SiteScorer, name: str, test: ImageSet, table: Table) -> list[ResultRow]:
    """SSIM, squared error and LPIPS of healthy reconstructions, of a method that makes any.

    Args:
        site: the method, ready for the site.
        name: what the table calls it.
        test: the site's test images.
        table: makes the rows.
    """
    healthy = [index for index, row in enumerate(test.rows) if row.label == "healthy"]
    patients = [test.rows[index].patient_id for index in healthy]
    whole = _whole(site.scorer.perceptual)
    found: dict[str, list[np.ndarray]] = {metric: [np.zeros(0)] for metric in whole}
    for x in batches(test, table.config.batch_size, healthy):
        x_hat = site.reconstruct(x)
        for metric, compare in whole.items():
            found[metric].append(compare(x, x_hat))
    rows = []
    for metric, parts in found.items():
        estimate = metrics.mean_estimate(np.concatenate(parts), patients, **table.settings)
        network = _network(metric, site.scorer.perceptual)
        rows.append(table.row(name, "reconstruction", metric, estimate, "healthy", perceptual=network))
    return rows


def healed(site: SiteScorer, name: str, images: SiteImages, table: Table) -> list[ResultRow]:
    """The same of sick images in their lesions, which should go, and elsewhere; none where no lesion is known."""
    known, size = images.lesions, table.config.batch_size
    sick = [place for place, mask in enumerate(known.masks) if mask.any() and not mask.all()]
    patients, by_pixel = [known.patients[place] for place in sick], _by_pixel(site.scorer.perceptual)
    found: dict[str, list[np.ndarray]] = {metric: [] for metric in by_pixel}
    for some in (sick[start : start + size] for start in range(0, len(sick), size)):
        x = images.test.images([known.indices[place] for place in some])
        x_hat = site.reconstruct(x)
        for metric, compare in by_pixel.items():
            found[metric].append(metrics.inside_and_outside(compare(x, x_hat), known.masks[some]))
    rows = []
    for metric, parts in found.items() if sick else ():
        for where, values in zip(("lesion", "rest"), np.concatenate(parts).T, strict=True):
            estimate = metrics.mean_estimate(values, patients, anomalous=True, **table.settings)
            network = _network(metric, site.scorer.perceptual)
            rows.append(table.row(name, "reconstruction", f"{metric}_{where}", estimate, perceptual=network))
    return rows


def _whole(perceptual: Perceptual | None) -> Mapping[str, Compare]:
    """By metric, to one number each, (N,)."""
    found: dict[str, Compare] = {
        "ssim": lambda x, y: metrics.ssim(x[:, 0].numpy(), y[:, 0].numpy()),
        "squared_error": lambda x, y: _squared(x, y).flatten(1).mean(1).numpy(),
    }
    return found if perceptual is None else found | {"lpips": lambda x, y: perceptual.distance(x, y).cpu().numpy()}


def _by_pixel(perceptual: Perceptual | None) -> Mapping[str, Compare]:
    """By metric, to a map each, (N, S, S)."""
    found: dict[str, Compare] = {
        "ssim": lambda x, y: metrics.ssim_maps(x[:, 0].numpy(), y[:, 0].numpy()),
        "squared_error": lambda x, y: _squared(x, y)[:, 0].numpy(),
    }
    if perceptual is None:
        return found
    return found | {"lpips": lambda x, y: perceptual.distance_map(x, y)[:, 0].cpu().double().numpy()}


def _squared(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() - y.double()).square()


def _network(metric: str, perceptual: Perceptual | None) -> str:
    """How rows name the network that a metric looks through; empty where it looks through none."""
    return perceptual.digest[:12] if perceptual and metric == "lpips" else ""
