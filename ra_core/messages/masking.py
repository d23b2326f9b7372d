"""A round of secure aggregation: what each site is asked in turn, and the signed messages that it answers with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, cast, get_args

import numpy as np
from flwr.app import ArrayRecord, RecordDict
from numpy.typing import NDArray

from ra_core.config import DIGEST
from ra_core.messages.rounds import RoundOrder
from ra_core.messages.wire import MessageError, Order, Reply, arrays, numpy_arrays

__all__ = ["MaskedOrder", "MaskedReply", "Stage", "StageOrder", "StageReply", "task_digest"]

Stage = Literal["announce", "deal", "confirm", "reveal"]
"""The short exchanges; between dealing and confirming lies the round itself, with `MaskedOrder`."""

Relayed = Mapping[str, bytes]
"""Other sites' signed messages by name of the site, as they came; for the core to judge."""


def task_digest(order: RoundOrder, model_hash: str) -> str:
    """SHA-256 of all that sites are asked for alike: study, round, steps, where they start, and the model.

    Args:
        order: of the round.
        model_hash: of its model.
    """
    asked = (order.study.digest(), order.round, order.start_step, order.steps, order.proximal_mu.hex(), model_hash)
    return hashlib.sha256("\n".join(map(str, asked)).encode()).hexdigest()


@dataclass(frozen=True)
class StageOrder(Order):
    """Server to site: speak next.

    Attributes:
        stage: announce keys; deal shares; confirm the survivors; reveal shares.
        round: from 1.
        start_step: steps that the global model has behind it.
        steps: local steps of the round; 0 in the closing exchange, whose sum has no update.
        task: as `task_digest` gives it. Sites mask with those alone that were told the same.
        relayed: nothing to announce; announcements to deal; the masked inputs of the survivors to confirm;
            confirmations to reveal.
    """

    stage: str
    round: int
    start_step: int
    steps: int
    task: str
    relayed: Relayed

    def to_record(self) -> RecordDict:
        """As Flower sends it."""
        return RecordDict({"order": self.fields(), "relayed": _as_arrays(self.relayed)})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """From what Flower received.

        Raises:
            VersionError: the server has other packages.
            MessageError: a part is missing, unknown, of the wrong type or out of range.
        """
        found = cls(**cls.read(record, "relayed"), relayed=_as_bytes(record, "relayed"))
        if found.stage not in get_args(Stage) or found.round < 1 or not DIGEST.fullmatch(found.task):
            raise MessageError("'order' has a stage, a round or a task that can't be")
        if found.start_step < 0 or not 0 <= found.steps <= found.study.federation.local_steps:
            raise MessageError("'order' has a start or a number of steps that can't be")
        return found

    @property
    def asked(self) -> Stage:
        """The stage, of which `from_record` has made sure."""
        return cast(Stage, self.stage)


@dataclass(frozen=True)
class MaskedOrder(RoundOrder):
    """Server to site: as `RoundOrder`, but the answer is masked.

    Attributes:
        dealings: of all sites whose masks are to cancel.
    """

    dealings: Relayed = field(kw_only=True)

    def to_record(self, model: ArrayRecord | None = None) -> RecordDict:
        """As Flower sends it; `model` as in `ModelOrder.to_record`."""
        record = super().to_record(model)
        record["dealings"] = _as_arrays(self.dealings)
        return record

    @classmethod
    def read(cls, record: RecordDict, *others: str) -> dict[str, Any]:
        """What `RoundOrder` reads, and the dealings.

        Raises:
            VersionError: the server has other packages.
            MessageError: as in `RoundOrder.read`.
        """
        return super().read(record, "dealings", *others) | {"dealings": _as_bytes(record, "dealings")}


@dataclass(frozen=True)
class StageReply(Reply):
    """Site to server: its signed message of a stage.

    Attributes:
        round: that it belongs to.
        stage: that it answers.
        message: one of `ra_core.masking`, as JSON.
    """

    round: int
    stage: str
    message: str

    @classmethod
    def from_record(cls, record: RecordDict) -> StageReply:
        """From what Flower received.

        Raises:
            MessageError: a part is missing, unknown, of the wrong type or form.
        """
        return cls(**cls.read(record))


@dataclass(frozen=True)
class MaskedReply(Reply):
    """Site to server: its figures of a round under masks.

    Attributes:
        round, study_digest, model_hash, fingerprint, epsilon, delta, noise_multiplier: as in `RoundReply`.
        message: the `MaskedInput`, as JSON.
        masked: the vector, uint64.
    """

    round: int
    study_digest: str
    model_hash: str
    fingerprint: str
    message: str
    masked: NDArray[np.uint64]
    epsilon: float = field(default=0.0, kw_only=True)
    delta: float = field(default=0.0, kw_only=True)
    noise_multiplier: float = field(default=0.0, kw_only=True)

    def to_record(self) -> RecordDict:
        """As Flower sends it."""
        return RecordDict({"facts": self.fields(), "masked": arrays({"vector": self.masked})})

    @classmethod
    def from_record(cls, record: RecordDict) -> MaskedReply:
        """From what Flower received.

        Raises:
            MessageError: a part is missing, unknown, of the wrong type or form. Values are not judged here.
        """
        facts = cls.read(record, "masked")
        found = numpy_arrays(record, "masked", np.dtype(np.uint64))
        if found.keys() != {"vector"} or not DIGEST.fullmatch(facts["fingerprint"]):
            raise MessageError("there is not one masked vector, or the fingerprint is not 64 hex digits")
        return cls(masked=found["vector"], **facts)


def _as_arrays(messages: Relayed) -> ArrayRecord:
    return arrays({site: np.frombuffer(content, np.uint8) for site, content in messages.items()})


def _as_bytes(record: RecordDict, part: str) -> dict[str, bytes]:
    return {site: found.tobytes() for site, found in numpy_arrays(record, part, np.dtype(np.uint8)).items()}
