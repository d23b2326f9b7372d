"""Delivery: the chosen model goes to every site, which says what it has stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from flwr.app import RecordDict

from ra_core.config import DIGEST
from ra_core.messages.wire import MessageError, ModelOrder, Reply

__all__ = ["ChosenOrder", "DeliveryOrder", "DeliveryReply"]


@dataclass(frozen=True)
class ChosenOrder(ModelOrder):
    """Server to site: what every order with the chosen model begins with.

    Attributes:
        base_round: the last round up to that of the model in which this site's answer counted, 0 where there is none:
            layers that never left the site are taken from there.
    """

    base_round: int

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """From what Flower received; each kind of order says what else it checks.

        Raises:
            VersionError: the server has other packages.
            MessageError: a part is missing, unknown, of the wrong type or out of range.
        """
        found = super().from_record(record)
        if found.base_round < 0:
            raise MessageError("'order' has a round that can't be")
        return found


@dataclass(frozen=True)
class DeliveryOrder(ChosenOrder):
    """Server to site: the chosen model.

    Attributes:
        card: the model's card as JSON.
        model_hash: of the shared tensors.
    """

    card: str
    model_hash: str

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """From what Flower received.

        Raises:
            VersionError: the server has other packages.
            MessageError: a part is missing, unknown, of the wrong type or out of range.
        """
        found = super().from_record(record)
        if not DIGEST.fullmatch(found.model_hash):
            raise MessageError("'order' has a hash that can't be")
        return found


@dataclass(frozen=True)
class DeliveryReply(Reply):
    """Site to server: the hash of the model that it stored."""

    model_hash: str

    @classmethod
    def from_record(cls, record: RecordDict) -> DeliveryReply:
        """From what Flower received.

        Raises:
            MessageError: a part is missing, unknown, of the wrong type or form.
        """
        found = cls(**cls.read(record))
        if not DIGEST.fullmatch(found.model_hash):
            raise MessageError("the model's hash is not 64 hex digits")
        return found
