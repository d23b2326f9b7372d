"""A round: the global model goes out, an update comes back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from flwr.app import MetricRecord, RecordDict

from ra_core.config import DIGEST
from ra_core.fixed_point import Codes
from ra_core.messages.wire import MessageError, ModelOrder, Reply, arrays, numpy_arrays

__all__ = ["RoundOrder", "RoundReply"]

_METRIC_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_METRICS = 32


@dataclass(frozen=True)
class RoundOrder(ModelOrder):
    """Server to site: the global model and what to do with it.

    Attributes:
        round: from 1.
        base_round: the last round in which this site's answer counted, 0 where there is none: what the site keeps to
            itself is taken from there.
        best_round: the last such round up to the best model so far: what the site keeps of it is still needed.
        start_step: steps that the global model has behind it.
        steps: local steps to train; 0 in the closing exchange, which only evaluates the model.
        proximal_mu: weight of FedProx's pull towards the global model; 0 is FedAvg.
    """

    round: int
    base_round: int
    best_round: int
    start_step: int
    steps: int
    proximal_mu: float

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """From what Flower received.

        Raises:
            VersionError: the server has other packages.
            MessageError: a part is missing, unknown, of the wrong type or out of range.
        """
        found = super().from_record(record)
        federation = found.study.federation
        if not (0 <= found.best_round <= found.base_round < found.round and 0 <= found.steps <= federation.local_steps):
            raise MessageError("'order' has a round or a number of steps that can't be")
        if found.start_step < 0 or not 0 <= found.proximal_mu < math.inf:
            raise MessageError("'order' has a start or a weight that can't be")
        return found


@dataclass(frozen=True)
class RoundReply(Reply):
    """Site to server: its update, counts and metrics.

    Attributes:
        round: that it answers.
        study_digest: of the settings it used.
        model_hash: of the model it received.
        fingerprint: of its data, 64 hex digits, keyed with a secret of the site: shows change and links nothing.
        n_images: healthy training images; the weight of the update.
        n_patients: they are of.
        n_val: healthy validation images behind `validation_error`.
        n_declared: files that ought to be images of the site.
        n_used: of these, the files that are used.
        metrics: numbers by name: validation_error of the received model, mean loss terms of the local steps.
        update: fixed-point codes by "part.name"; empty in the closing exchange.
        epsilon, delta: differential privacy of a patient in all that the site has paid for in this run, whether it
            arrived or not; 0 where the study has none, or nothing was paid for.
        noise_multiplier: of the latest round; likewise.
        spending: line of the site's ledger by which the update was paid for; 0 without an update too.

    In a study with differential privacy counts may be 0, which tells nothing of them, and so may a fingerprint.
    """

    round: int
    study_digest: str
    model_hash: str
    fingerprint: str
    n_images: int
    n_patients: int
    n_val: int
    n_declared: int
    n_used: int
    metrics: Mapping[str, float]
    update: Mapping[str, Codes]
    epsilon: float = field(default=0.0, kw_only=True)
    delta: float = field(default=0.0, kw_only=True)
    noise_multiplier: float = field(default=0.0, kw_only=True)
    spending: int = field(default=0, kw_only=True)

    def to_record(self, compress: bool = False) -> RecordDict:
        """As Flower sends it.

        Args:
            compress: the update, without loss.
        """
        update = arrays(self.update, compress)
        return RecordDict({"facts": self.fields(), "metrics": MetricRecord(dict(self.metrics)), "update": update})

    @classmethod
    def from_record(cls, record: RecordDict) -> RoundReply:
        """From what Flower received.

        Raises:
            MessageError: a part is missing, unknown, of the wrong type or form. Values are not judged here.
        """
        facts = cls.read(record, "metrics", "update")
        if not DIGEST.fullmatch(facts["fingerprint"]):
            raise MessageError("the fingerprint is not 64 hex digits")
        return cls(metrics=_metrics(record), update=numpy_arrays(record, "update", np.dtype(np.int32)), **facts)


def _metrics(record: RecordDict) -> dict[str, float]:
    """Numbers by name.

    Raises:
        MessageError: there are none or too many, or one has an odd name or is no float.
    """
    found: MetricRecord | None = record.metric_records.get("metrics")
    if found is None or len(found) > _MOST_METRICS:
        raise MessageError(f"'metrics' holds no metrics, or more than {_MOST_METRICS}")
    read = {}
    for name, value in found.items():
        if not (_METRIC_NAME.fullmatch(name) and isinstance(value, float)):
            raise MessageError("a metric is not a float, or its name is too long or odd")
        read[name] = value
    return read
