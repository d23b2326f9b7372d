"""What a site says in a round, as integers to be masked: weighted codes of its update, counts, and weighted metrics.

The update is that of `ra_core.fixed_point`, so that the mean of a masked sum has the bits of a plain one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ra_core.errors import MaskingError
from ra_core.fixed_point import (
    LARGEST_TOTAL_COUNT,
    LARGEST_UPDATE,
    RESOLUTION,
    Codes,
    RangeError,
    WeightedSum,
    check_update,
)
from ra_core.masking.layout import Field, Layout, Words

__all__ = ["COUNTS", "LARGEST_METRIC", "Figures", "Totals", "round_layout"]

COUNTS = ("n_images", "n_patients", "n_val", "n_declared", "n_used")
"""As in `RoundReply`."""

LARGEST_METRIC = 2.0**40
"""No mean over a site's images is larger."""

_STEPS = int(1 / RESOLUTION)
_LARGEST_CODE = int(LARGEST_UPDATE * _STEPS)


def round_layout(shapes: Mapping[str, tuple[int, ...]], metrics: Iterable[str], sites: int) -> Layout:
    """The vector of a round: updates by name, then counts, then metrics by name.

    Args:
        shapes: of the update's tensors, by name.
        metrics: names; a site may lack one, as all do while training has no such term.
        sites: agreed; each has an equal share of `LARGEST_TOTAL_COUNT`.
    """
    most = LARGEST_TOTAL_COUNT // sites
    weight, metric = most * _LARGEST_CODE, most * int(LARGEST_METRIC) * _STEPS
    return Layout(
        (
            *(Field(f"update/{name}", shapes[name], -weight, weight) for name in sorted(shapes)),
            *(Field(f"count/{name}", (), 1, most) for name in COUNTS),
            *(Field(f"weight/{name}", (), 0, most) for name in sorted(metrics)),
            *(Field(f"metric/{name}", (), -metric, metric, wide=True) for name in sorted(metrics)),
        )
    )


@dataclass(frozen=True)
class Figures:
    """One site's.

    Attributes:
        update: fixed-point codes by name; empty in the closing exchange.
        counts: those of `COUNTS`, each at least 1.
        metrics: means over the site's images, by name; those of the layout that are missing weigh nothing.
    """

    update: Mapping[str, Codes]
    counts: Mapping[str, int]
    metrics: Mapping[str, float]

    def pack(self, layout: Layout) -> Words:
        """The vector that is masked.

        Raises:
            MaskingError: names, shapes or types are not the layout's, or a value is beyond its bounds or not finite.
        """
        if self.counts.keys() != set(COUNTS):
            raise MaskingError(f"this site's counts are not {', '.join(COUNTS)}")
        images = self.counts["n_images"]
        shapes = {f.name.removeprefix("update/"): f.shape for f in layout.fields if f.name.startswith("update/")}
        absent = {f.name for f in layout.fields if f.name.startswith("metric/")} - {f"metric/{n}" for n in self.metrics}
        try:
            check_update(self.update, images, 0, shapes)
        except (RangeError, ValueError) as error:
            raise MaskingError(f"this site's update can't be masked: {error}") from None
        updates = {f"update/{name}": codes.astype(np.int64) * np.int64(images) for name, codes in self.update.items()}
        counts = {f"count/{name}": np.array(count, np.int64) for name, count in self.counts.items()}
        weights = {f"weight/{name}": np.array(self.counts[_weight(name)], np.int64) for name in self.metrics}
        metrics = {f"metric/{name}": self._metric(name) for name in self.metrics}
        for name in absent:
            weights[name.replace("metric", "weight", 1)], metrics[name] = np.array(0, np.int64), np.array(0, object)
        return layout.pack(updates | counts | weights | metrics)

    def _metric(self, name: str) -> NDArray[np.int64]:
        value = self.metrics[name]
        if not abs(value) <= LARGEST_METRIC:  # NaN is not
            raise MaskingError(f"this site's metric '{name}' is not finite or too large")
        # Times a power of two is exact, and Python rounds floats to integers of any size, ties to even.
        return np.array(round(value * _STEPS) * self.counts[_weight(name)], object)


@dataclass(frozen=True)
class Totals:
    """All surviving sites' together.

    Attributes:
        update: Σ images × update.
        counts: sums by name.
        metrics: means by name, weighted by images: validation images for `validation_error`. Those that no site has
            given are missing.
    """

    update: WeightedSum
    counts: Mapping[str, int]
    metrics: Mapping[str, float]

    @classmethod
    def unpack(cls, layout: Layout, total: Words, sites: int) -> Totals:
        """From the unmasked sum over these many sites.

        Raises:
            MaskingError: a sum is out of its range, or an update larger than the images of its sum allow.
        """
        parts: dict[str, dict[str, NDArray[np.int64]]] = {"update": {}, "count": {}, "weight": {}, "metric": {}}
        for path, value in layout.unpack(total, sites).items():
            part, _, name = path.partition("/")
            parts[part][name] = value
        counts = {name: int(value) for name, value in parts["count"].items()}
        for name, value in parts["update"].items():
            if value.size and max(-int(value.min()), int(value.max())) > _LARGEST_CODE * counts["n_images"]:
                raise MaskingError(f"the mean of '{name}' is beyond {LARGEST_UPDATE}: some site broke its bounds")
        metrics = {
            name: float(Fraction(int(parts["metric"][name].item()), int(weight) * _STEPS))
            for name, weight in parts["weight"].items()
            if weight
        }
        return cls(WeightedSum.of(parts["update"], counts["n_images"]), counts, metrics)


def _weight(metric: str) -> str:
    return "n_val" if metric == "validation_error" else "n_images"
