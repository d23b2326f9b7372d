"""Federated calibration of the chosen model: score histograms, then how many patients are above thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from flwr.app import ArrayRecord, RecordDict
from numpy.typing import NDArray

from ra_core.config import DIGEST
from ra_core.messages.delivery import ChosenOrder
from ra_core.messages.wire import MessageError, Reply, arrays, numpy_arrays
from ra_core.thresholds.histogram import CELLS, EDGES, Histogram

__all__ = ["ABSENT", "CheckOrder", "CheckReply", "HistogramOrder", "HistogramReply"]

ABSENT = -1
"""In place of a threshold that there isn't, or of a count that isn't told."""

_LONGEST_REASON = 400
_INT32 = np.dtype(np.int32)


@dataclass(frozen=True)
class HistogramOrder(ChosenOrder):
    """Server to site: score the first half of the calibration patients with the chosen model."""


@dataclass(frozen=True)
class HistogramReply(Reply):
    """Site to server: a histogram of scores of healthy patients, one score each, on the published edges.

    Attributes:
        study_digest: of the settings it used.
        model_hash: of the shared tensors it received.
        network: SHA-256 of the perceptual network behind the scores; empty where the scoring needs none.
        n: patients of the first half.
        withheld: why there is no histogram; empty where there is one.
        scores: their histogram, whose cells are disjoint; without any cell where it is withheld.
    """

    study_digest: str
    model_hash: str
    network: str
    n: int
    withheld: str
    scores: Histogram

    @property
    def histograms(self) -> dict[str, Histogram]:
        """By name."""
        return {"scores": self.scores}

    def to_record(self) -> RecordDict:
        """As Flower sends it."""
        return RecordDict({"facts": self.fields(), "histograms": _as_arrays(self.histograms)})

    @classmethod
    def from_record(cls, record: RecordDict) -> HistogramReply:
        """From what Flower received.

        Raises:
            MessageError: a part is missing, unknown, of the wrong type or form. That `n` is true is not judged here.
        """
        found = cls(**cls.read(record, "histograms") | _histograms(record, {"scores"}))
        _require_hashes(found)
        if found.network and not DIGEST.fullmatch(found.network):
            raise MessageError("the network's hash is not 64 hex digits")
        _require_reasons(found.withheld)
        return found


@dataclass(frozen=True)
class CheckOrder(ChosenOrder):
    """Server to site: count who of the second half of the calibration patients is above thresholds.

    Attributes:
        local, pooled, shrunken: thresholds for this site, each as the place of a published edge, from 0; -1 where there
            is none.
    """

    local: int
    pooled: int
    shrunken: int

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """From what Flower received.

        Raises:
            VersionError: the server has other packages.
            MessageError: a part is missing, unknown, of the wrong type or out of range.
        """
        found = super().from_record(record)
        if not all(ABSENT <= place < len(EDGES) for place in (found.local, found.pooled, found.shrunken)):
            raise MessageError("'order' has a threshold that is no published edge")
        return found


@dataclass(frozen=True)
class CheckReply(Reply):
    """Site to server: how often healthy patients who set no threshold are above one; and histograms of test patients.

    Attributes:
        study_digest, model_hash: as in `HistogramReply`.
        local, pooled, shrunken: the thresholds, as in the order.
        n: patients of the second half; 0 where they are withheld.
        above_local, above_pooled, above_shrunken: how many of them score above each; -1 where it isn't told.
        withheld: why counts aren't told; empty where all that were asked for are.
        withheld_test: why there are no histograms of test patients; empty where there are.
        healthy, anomalous: of test patients by class.
    """

    study_digest: str
    model_hash: str
    local: int
    pooled: int
    shrunken: int
    n: int
    above_local: int
    above_pooled: int
    above_shrunken: int
    withheld: str
    withheld_test: str
    healthy: Histogram
    anomalous: Histogram

    @property
    def histograms(self) -> dict[str, Histogram]:
        """By name."""
        return {"healthy": self.healthy, "anomalous": self.anomalous}

    def to_record(self) -> RecordDict:
        """As Flower sends it."""
        return RecordDict({"facts": self.fields(), "histograms": _as_arrays(self.histograms)})

    @classmethod
    def from_record(cls, record: RecordDict) -> CheckReply:
        """From what Flower received.

        Raises:
            MessageError: a part is missing, unknown, of the wrong type or form. Counts are not judged here.
        """
        found = cls(**cls.read(record, "histograms") | _histograms(record, {"healthy", "anomalous"}))
        _require_hashes(found)
        _require_reasons(found.withheld, found.withheld_test)
        return found


def _as_arrays(histograms: dict[str, Histogram]) -> ArrayRecord:
    """Each as int32 (C, 3): first cell, last cell, count."""
    return arrays({name: np.array(found.cells, _INT32).reshape(-1, 3) for name, found in histograms.items()})


def _histograms(record: RecordDict, names: set[str]) -> dict[str, Histogram]:
    found = numpy_arrays(record, "histograms", _INT32)
    if found.keys() != names:
        raise MessageError(f"'histograms' holds others than {', '.join(sorted(names))}")
    return {name: _histogram(cells) for name, cells in found.items()}


def _histogram(found: NDArray[np.int32]) -> Histogram:
    if found.ndim != 2 or found.shape[1] != 3 or len(found) > CELLS:
        raise MessageError("a histogram has no rows of first cell, last cell and count, or too many")
    try:
        histogram = Histogram(tuple((first, last, count) for first, last, count in found.tolist()))
    except ValueError as error:
        raise MessageError(str(error)) from None
    if any(after[0] <= before[1] for before, after in pairwise(histogram.cells)):
        raise MessageError("cells of a histogram overlap")
    if histogram.cells and histogram.cells[-1][1] >= len(EDGES):
        raise MessageError("a histogram has scores above the highest published edge")
    return histogram


def _require_hashes(reply: HistogramReply | CheckReply) -> None:
    if not (DIGEST.fullmatch(reply.study_digest) and DIGEST.fullmatch(reply.model_hash)):
        raise MessageError("a digest is not 64 hex digits")


def _require_reasons(*reasons: str) -> None:
    if not all(len(reason) <= _LONGEST_REASON and (not reason or reason.isprintable()) for reason in reasons):
        raise MessageError("its reason is too long, or can't be printed")
