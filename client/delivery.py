"""The model that a federation has chosen, stored at this site as one that it can score with."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import ValidationError

from client.kept import Kept, restore_layers
from client.models import store_model
from ra_core.artifact import Artifact, Card, model_hash
from ra_core.config import SiteConfig
from ra_core.errors import StateError
from ra_core.hashing import array_digest
from ra_core.messages import ChosenOrder, DeliveryOrder, DeliveryReply, MessageError
from ra_core.models.method import Method
from ra_core.models.registry import build_method
from ra_core.models.shared import load_shared, shared_tensors

__all__ = ["assembled", "take_delivery"]


def take_delivery(order: DeliveryOrder, config: SiteConfig, state: Path) -> DeliveryReply:
    """Check the model against its hash and store it; layers that never left this site are put with it.

    Args:
        order: with the model.
        config: of the site.
        state: its folder, for models and for what rounds have left in it.

    Raises:
        MessageError: model, hash and card don't belong together.
        StateError: layers of this site belong to the model, and are lost.
        OSError: the disk is full or the folder can't be written.
    """
    card = _card(order)
    if array_digest(order.model) != order.model_hash:
        raise MessageError("the model is not what its hash says")
    method = assembled(order, state / config.data.site)
    whole = card.model_copy(update={"model_hash": model_hash(method)})
    store_model(state, Artifact(method.eval(), whole), f"run {order.run}")
    return DeliveryReply(site=config.data.site, model_hash=order.model_hash)


def assembled(order: ChosenOrder, kept: Path) -> Method:
    """The chosen model, with layers that never left this site.

    Args:
        order: with the shared tensors.
        kept: the site's folder of what rounds have left.

    Raises:
        MessageError: the model's tensors are not the study's.
        StateError: layers of this site belong to the model, and are lost.
    """
    study = order.study
    method = build_method(study.method, study.preprocessing.size, study.seed)
    if shared_tensors(method).keys() != order.model.keys():
        _add_own_layers(method, order, Kept.of(kept, study, order.run))
    try:
        load_shared(method, study.federation, {name: torch.from_numpy(array) for name, array in order.model.items()})
    except ValueError as error:
        raise MessageError(str(error)) from None
    return method


def _card(order: DeliveryOrder) -> Card:
    study = order.study
    try:
        card = Card.model_validate_json(order.card)
    except ValidationError as error:
        raise MessageError(f"the model's card is not valid ({error.error_count()} errors)") from None
    if (card.method, card.preprocessing, card.seed) != (study.method, study.preprocessing, study.seed):
        raise MessageError("the model's card is of another study")
    return card


def _add_own_layers(method: Method, order: ChosenOrder, kept: Kept) -> None:
    if not order.base_round:
        raise StateError(
            "layers of each site's own belong to this model, and this site was in no round up to it",
            "take part in a new run",
        )
    restore_layers(method, order.study, kept.load(order.base_round))
