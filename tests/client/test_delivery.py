"""What a site does with the chosen model: checked against its hash, put together with its own layers, stored."""

from dataclasses import replace

import pytest
from federating import train_hospitals
from hospitals import SETTINGS, model_digest, tiny_federation, write_hospitals

from client.delivery import take_delivery
from client.models import models
from ra_core import load
from ra_core.artifact import load_artifact
from ra_core.config import SiteConfig, StudyConfig
from ra_core.errors import StateError
from ra_core.messages import DeliveryOrder, MessageError
from ra_core.models.shared import shared_tensors
from ra_core.settings import load_config
from ra_core.storage import load_tensors
from server.rounds.orders import Orders


@pytest.fixture
def hospitals(site_root, tmp_path):
    return write_hospitals(site_root, tmp_path)


def order_of(study, done, site="anna"):
    return DeliveryOrder.from_record(Orders(study, "run").delivery({1: site}, done)[1])


def test_every_site_can_score_with_the_model_that_was_chosen(hospitals, tmp_path):
    study = tiny_federation()
    done = train_hospitals(hospitals, study)
    assert done.delivered == ("anna", "berta")
    (stored,) = models(tmp_path / "state")
    assert not stored.fault
    card = load_artifact(stored.folder).card
    assert card.model_hash == model_digest(done.best)
    assert stored.folder.name == card.model_hash[:16]
    assert [(part.site, part.train_images, part.train_patients) for part in card.data] == [
        ("anna", 12, 12),
        ("berta", 11, 11),
    ]
    assert (card.anatomy, card.modality) == ("none", "OT")
    assert load(stored.folder).card == card


@pytest.mark.parametrize("federation", [{"parts": ["encoder"]}, {"local_norms": True}], ids=["decoder", "norms"])
def test_layers_that_never_left_a_site_are_put_with_the_model(hospitals, tmp_path, federation):
    study = tiny_federation(rounds=3, **federation)
    done = train_hospitals(hospitals, study)
    assert done.delivered == ("anna", "berta")
    stored = [load_artifact(found.folder) for found in models(tmp_path / "state")]
    assert len({artifact.card.model_hash for artifact in stored}) == 2
    own = {site: kept(tmp_path, study, site, done.best_round) for site in ("anna", "berta")}
    for artifact in stored:
        tensors = {name: tensor.numpy() for name, tensor in shared_tensors(artifact.method).items()}
        assert model_digest({name: tensors[name] for name in done.best}) == model_digest(done.best)
        rest = {name: array for name, array in tensors.items() if name not in done.best}
        assert model_digest(rest) in [model_digest(found) for found in own.values()]


def kept(tmp_path, study, site, number):
    file = tmp_path / "state" / site / study.digest()[:16] / f"round_{number}.safetensors"
    return {name.removeprefix("layer/"): tensor.numpy() for name, tensor in load_tensors(file)[0].items()}


@pytest.fixture
def delivered(hospitals):
    study = tiny_federation(parts=["encoder"])
    done = train_hospitals(hospitals, study)
    return study, done, load_config(hospitals[0].site_config, SiteConfig)


def test_a_site_that_lost_its_layers_says_so(delivered, tmp_path):
    study, done, config = delivered
    with pytest.raises(StateError, match="can't be read"):
        take_delivery(order_of(study, done), config, tmp_path / "empty")
    with pytest.raises(StateError, match="in no round"):
        take_delivery(replace(order_of(study, done), base_round=0), config, tmp_path / "state")
    assert not models(tmp_path / "empty")


def test_a_model_that_is_not_what_its_hash_or_card_says_is_refused(delivered, tmp_path):
    study, done, config = delivered
    order = order_of(study, done)
    other = StudyConfig.model_validate(SETTINGS | {"seed": 1, "federation": study.federation})
    changed = {name: array + 1 for name, array in order.model.items()}
    fewer = dict(list(order.model.items())[1:])
    for bad, reason in (
        (replace(order, model=changed), "not what its hash says"),
        (replace(order, model=fewer, model_hash=model_digest(fewer)), "is missing"),
        (replace(order, card="{}"), "card is not valid"),
        (replace(order, study=other), "another study"),
    ):
        with pytest.raises(MessageError, match=reason):
            take_delivery(bad, config, tmp_path / "state")
