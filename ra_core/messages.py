"""What server and client say to each other: typed records with one function each way.

The only file of `ra_core` that imports `flwr`, and only its record types. A message never carries a file name, a
patient id, a pixel or the score of a single image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray
from pydantic import ValidationError

from ra_core.config import StudyConfig
from ra_core.fixed_point import Codes

__all__ = ["MessageError", "RoundOrder", "RoundReply"]

Model = Mapping[str, NDArray[np.float32]]


class MessageError(ValueError):
    """A message is not what the contract says; the text names what is wrong and holds no content of it."""


@dataclass(frozen=True)
class RoundOrder:
    """Server to site: the global model and what to do with it.

    Attributes:
        study: settings, the same for all sites.
        round: from 1.
        start_step: steps that the global model has behind it.
        steps: local steps to train; 0 in the closing exchange, which only evaluates the model.
        proximal_mu: weight of FedProx's pull towards the global model; 0 is FedAvg.
        model: shared tensors by "part.name".
    """

    study: StudyConfig
    round: int
    start_step: int
    steps: int
    proximal_mu: float
    model: Model

    def to_record(self) -> RecordDict:
        """As Flower sends it."""
        order: dict[str, Any] = {
            "study": self.study.model_dump_json(),
            "round": self.round,
            "start_step": self.start_step,
            "steps": self.steps,
            "proximal_mu": self.proximal_mu,
        }
        return RecordDict({"order": ConfigRecord(order), "model": _arrays(self.model)})

    @classmethod
    def from_record(cls, record: RecordDict) -> RoundOrder:
        """From what Flower received.

        Raises:
            MessageError: a part is missing, unknown or of the wrong type.
        """
        _require_keys(record, {"order", "model"})
        order = _fields(
            record, "order", {"study": str, "round": int, "start_step": int, "steps": int, "proximal_mu": float}
        )
        try:
            study = StudyConfig.model_validate_json(order.pop("study"))
        except ValidationError as error:
            raise MessageError(f"the study's settings are not valid ({error.error_count()} errors)") from None
        return cls(study=study, model=_numpy(record, "model", np.dtype(np.float32)), **order)


@dataclass(frozen=True)
class RoundReply:
    """Site to server: its update, counts and metrics.

    Attributes:
        site: name in the consortium.
        round: that it answers.
        study_digest: of the settings it used.
        model_hash: of the model it received.
        fingerprint: of its data, keyed with a secret of the site: shows change and links nothing.
        n_images: healthy training images; the weight of the update.
        n_patients: they are of.
        n_val: healthy validation images behind `validation_error`.
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
            MessageError: a part is missing, unknown or of the wrong type.
        """
        _require_keys(record, {"facts", "metrics", "update"})
        facts = _fields(record, "facts", _FACTS)
        metrics = {}
        for name, value in record.metric_records["metrics"].items():
            if not isinstance(value, float):
                raise MessageError(f"metric '{name[:40]}' is not a float")
            metrics[name] = value
        return cls(metrics=metrics, update=_numpy(record, "update", np.dtype(np.int32)), **facts)


_FACTS: dict[str, type] = {
    "site": str,
    "round": int,
    "study_digest": str,
    "model_hash": str,
    "fingerprint": str,
    "n_images": int,
    "n_patients": int,
    "n_val": int,
}


def _arrays(arrays: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.ascontiguousarray(array)) for name, array in arrays.items()})


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


def _numpy(record: RecordDict, part: str, dtype: np.dtype[Any]) -> dict[str, NDArray[Any]]:
    arrays = record.array_records.get(part)
    if arrays is None:
        raise MessageError(f"'{part}' holds no arrays")
    found = {}
    for name, array in arrays.items():
        try:
            found[name] = array.numpy()
        except (ValueError, TypeError, EOFError, OSError):
            raise MessageError(f"an array of '{part}' can't be read") from None
        if found[name].dtype != dtype:
            raise MessageError(f"an array of '{part}' is not {dtype}")
    return found
