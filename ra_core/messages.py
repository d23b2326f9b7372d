"""What server and client say to each other: typed records with one function each way.

The only file of `ra_core` that imports `flwr`, and only its record types. A message never carries a file name, a
patient id, a pixel or the score of a single image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray
from pydantic import ValidationError

from ra_core.config import SITE_NAME, StudyConfig
from ra_core.fixed_point import Codes

__all__ = ["MessageError", "RoundOrder", "RoundReply"]

Model = Mapping[str, NDArray[np.float32]]

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_METRIC_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_METRICS = 32


class MessageError(ValueError):
    """A message is not what the contract says; the text names what is wrong and holds no content of it."""


@dataclass(frozen=True)
class RoundOrder:
    """Server to site: the global model and what to do with it.

    Attributes:
        study: settings, the same for all sites.
        round: from 1.
        best_round: rounds behind the best model so far, 0 where there is none: what a site keeps of it is still needed.
        start_step: steps that the global model has behind it.
        steps: local steps to train; 0 in the closing exchange, which only evaluates the model.
        proximal_mu: weight of FedProx's pull towards the global model; 0 is FedAvg.
        model: shared tensors by "part.name".
    """

    study: StudyConfig
    round: int
    best_round: int
    start_step: int
    steps: int
    proximal_mu: float
    model: Model

    def to_record(self) -> RecordDict:
        """As Flower sends it."""
        order: dict[str, Any] = {
            "study": self.study.model_dump_json(),
            "round": self.round,
            "best_round": self.best_round,
            "start_step": self.start_step,
            "steps": self.steps,
            "proximal_mu": self.proximal_mu,
        }
        return RecordDict({"order": ConfigRecord(order), "model": _arrays(self.model)})

    @classmethod
    def from_record(cls, record: RecordDict) -> RoundOrder:
        """From what Flower received.

        Raises:
            MessageError: a part is missing, unknown, of the wrong type or out of range.
        """
        _require_keys(record, {"order", "model"})
        order = _fields(record, "order", _ORDER)
        try:
            study = StudyConfig.model_validate_json(order.pop("study"))
        except ValidationError as error:
            raise MessageError(f"the study's settings are not valid ({error.error_count()} errors)") from None
        found = cls(study=study, model=_numpy(record, "model", np.dtype(np.float32)), **order)
        if not (0 <= found.best_round < found.round and 0 <= found.steps <= study.federation.local_steps):
            raise MessageError("'order' has a round or a number of steps that can't be")
        if found.start_step < 0 or not 0 <= found.proximal_mu < math.inf:
            raise MessageError("'order' has a start or a weight that can't be")
        return found


@dataclass(frozen=True)
class RoundReply:
    """Site to server: its update, counts and metrics.

    Attributes:
        site: name in the consortium, of the form `SITE_NAME`.
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
    """

    site: str
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

    def to_record(self) -> RecordDict:
        """As Flower sends it."""
        facts: dict[str, Any] = {name: getattr(self, name) for name in _FACTS}
        return RecordDict(
            {"facts": ConfigRecord(facts), "metrics": MetricRecord(dict(self.metrics)), "update": _arrays(self.update)}
        )

    @classmethod
    def from_record(cls, record: RecordDict) -> RoundReply:
        """From what Flower received.

        Raises:
            MessageError: a part is missing, unknown, of the wrong type or form. Values are not judged here.
        """
        _require_keys(record, {"facts", "metrics", "update"})
        facts = _fields(record, "facts", _FACTS)
        if not SITE_NAME.fullmatch(facts["site"]):
            raise MessageError("the site's name is too long or has characters that names don't have")
        if not _FINGERPRINT.fullmatch(facts["fingerprint"]):
            raise MessageError("the fingerprint is not 64 hex digits")
        return cls(metrics=_metrics(record), update=_numpy(record, "update", np.dtype(np.int32)), **facts)


_ORDER: dict[str, type] = {
    "study": str,
    "round": int,
    "best_round": int,
    "start_step": int,
    "steps": int,
    "proximal_mu": float,
}
_FACTS: dict[str, type] = {
    "site": str,
    "round": int,
    "study_digest": str,
    "model_hash": str,
    "fingerprint": str,
    "n_images": int,
    "n_patients": int,
    "n_val": int,
    "n_declared": int,
    "n_used": int,
}


def _arrays(arrays: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.asarray(array, order="C")) for name, array in arrays.items()})


def _require_keys(record: RecordDict, expected: set[str]) -> None:
    if set(record) != expected:
        raise MessageError(f"the message has other parts than {', '.join(sorted(expected))}")


def _fields(record: RecordDict, part: str, expected: Mapping[str, type]) -> dict[str, Any]:
    found = record.config_records.get(part)
    if found is None or set(found) != set(expected):
        raise MessageError(f"'{part}' has other fields than {', '.join(expected)}")
    for name, kind in expected.items():
        if type(found[name]) is not kind:
            raise MessageError(f"'{part}.{name}' is not of type {kind.__name__}")
    return dict(found)


def _metrics(record: RecordDict) -> dict[str, float]:
    found = record.metric_records.get("metrics")
    if found is None or len(found) > _MOST_METRICS:
        raise MessageError(f"'metrics' holds no metrics, or more than {_MOST_METRICS}")
    metrics = {}
    for name, value in found.items():
        if not (_METRIC_NAME.fullmatch(name) and isinstance(value, float)):
            raise MessageError("a metric is not a float, or its name is too long or odd")
        metrics[name] = value
    return metrics


def _numpy(record: RecordDict, part: str, dtype: np.dtype[Any]) -> dict[str, NDArray[Any]]:
    arrays = record.array_records.get(part)
    if arrays is None:
        raise MessageError(f"'{part}' holds no arrays")
    found = {}
    for name, array in arrays.items():
        try:
            found[name] = _decode(array.data, dtype)
        except Exception:  # of many kinds: NumPy evaluates and tokenizes what stands in the header
            raise MessageError(f"an array of '{part}' can't be read, or is not {dtype}") from None
    return found


def _decode(data: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """What `numpy.save` wrote. `numpy.load` would set aside whatever memory a header asks for before it looks further.

    Raises:
        Exception: another format or type, or not as many values as the shape says.
    """
    file = BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version of the format")
    shape, fortran, found = np.lib.format.read_array_header_1_0(file)
    values = memoryview(data)[file.tell() :]
    if found != dtype or fortran or len(values) != math.prod(shape) * dtype.itemsize:
        raise ValueError("another type, order or size")
    return np.frombuffer(values, dtype).reshape(shape).copy()
