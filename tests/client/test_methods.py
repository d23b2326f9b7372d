"""Methods that are no autoencoders, trained by hospitals through the same apps as in a real federation."""

import numpy as np
import pytest
import torch
from federating import answer_of, train_hospitals
from hospitals import write_hospitals
from looking import SMALL
from pydantic import ValidationError

from client.opening import opened
from ra_core.config import RuntimeConfig, SiteConfig, StudyConfig
from ra_core.errors import WeightsError
from ra_core.installed import package_hash
from ra_core.messages import JoinOrder, MessageError, RoundOrder
from ra_core.models import features
from ra_core.models.registry import build_method
from ra_core.models.shared import load_shared, shared_tensors
from ra_core.settings import load_config

ONE_PASS = {"training": {"steps": 1}, "federation": {"rounds": 1, "local_steps": 1}, "preprocessing": {"size": 64}}
METHODS = [
    {"name": "pca", "components": 8},
    {"name": "mahalanobis", "components": 8},
    {"name": "padim", "channels": 20} | SMALL,
]
BANKS = ["nearest_neighbour", "patchcore"]


def study(method):
    return StudyConfig.model_validate(ONE_PASS | {"method": method})


@pytest.fixture(autouse=True)
def network(monkeypatch, untrained_perceptual):
    monkeypatch.setattr(features, "pretrained", lambda *_: untrained_perceptual)


@pytest.mark.parametrize("settings", METHODS, ids=lambda settings: settings["name"])
def test_three_hospitals_compute_what_all_images_together_would_have_given(site_root, tmp_path, settings):
    """Hospitals have 12, 11 and 10 of the same images, so all together have each as often as hospitals do."""
    hospitals, found = write_hospitals(site_root, tmp_path, ("anna", "berta", "clara")), study(settings)
    done = train_hospitals(hospitals, found)
    assert done.records[0].n_images == 33
    assert done.best_round == 1
    assert sorted(done.delivered) == ["anna", "berta", "clara"]
    assert np.isfinite([record.validation_error for record in done.records]).all()
    federated, pooled = (build_method(found.method, 64, 0) for _ in range(2))
    load_shared(federated, None, {name: torch.from_numpy(array) for name, array in done.best.items()})
    sites = [images_of(node, found) for node in hospitals]
    pooled.fit(site.train.images(range(len(site.train))) for site in sites)
    x = sites[0].test.images(range(12))
    for name, tensor in shared_tensors(pooled).items():
        torch.testing.assert_close(shared_tensors(federated)[name], tensor, atol=2e-7, rtol=0)
    torch.testing.assert_close(federated.healthy_error(x), pooled.healthy_error(x), rtol=5e-3, atol=1e-6)


def test_a_flow_is_trained_by_hospitals_and_they_keep_nothing_of_it(site_root, tmp_path):
    settings = {"name": "flow", "channels": 8, "hidden": 16, "position": 8} | SMALL
    rounds = {"training": {"steps": 4, "batch_size": 4}, "federation": {"rounds": 2, "local_steps": 2}}
    found = StudyConfig.model_validate({"preprocessing": {"size": 64}, "method": settings} | rounds)
    done = train_hospitals(write_hospitals(site_root, tmp_path), found)
    assert done.best_round == 2
    assert sorted(done.delivered) == ["anna", "berta"]
    assert set(done.records[0].by_site["anna"]) == {"validation_error", "log_likelihood"}
    assert not list((tmp_path / "state").rglob("round_*"))


def test_moments_may_be_large(site_root, tmp_path):
    """The limit on updates is one for weights."""
    found = study(METHODS[0])
    federation = found.federation.model_copy(update={"max_update_norm": 1e-6})
    done = train_hospitals(write_hospitals(site_root, tmp_path), found.model_copy(update={"federation": federation}))
    assert done.records[0].answered == ("anna", "berta")


@pytest.mark.parametrize(
    "changed",
    [
        {"optimizer": {"name": "adam"}},
        {"optimizer": {"learning_rate": 0.5}},
        {"clip_update_norm": 1.0},
        {"aggregation": "trimmed_mean"},
    ],
)
def test_moments_are_averaged_as_they_are(changed):
    federation = ONE_PASS["federation"] | changed
    with pytest.raises(ValidationError, match=f"federation.{next(iter(changed))}: pca is computed from plain means"):
        StudyConfig.model_validate(ONE_PASS | {"method": METHODS[0], "federation": federation})
    StudyConfig.model_validate({"federation": {"rounds": 2} | changed})


def images_of(node, found):
    config = load_config(node.site_config, SiteConfig)
    return opened(config, node.settings(RuntimeConfig(threads=1)), node.state, found).images


def orders(found):
    said = {"study": found, "run": "run", "package_hash": package_hash()}
    where = {"round": 1, "base_round": 0, "best_round": 0, "start_step": 0, "steps": 1, "proximal_mu": 0.0}
    return JoinOrder(**said), RoundOrder(**said, **where, model={})


def answer(node, order, kind):
    return answer_of(node.settings(RuntimeConfig(threads=1)), order, kind)


@pytest.mark.parametrize("name", BANKS)
def test_a_hospital_refuses_a_study_that_asks_for_a_bank(site_root, tmp_path, name):
    (node,) = write_hospitals(site_root, tmp_path, ("anna",))
    for order, kind in zip(orders(study({"name": name})), ("query", "train"), strict=True):
        with pytest.raises(MessageError, match="its bank holds"):
            type(order).from_record(order.to_record())
        reply = answer(node, order, kind)
        assert reply.error.reason == "MessageError at anna"


def test_a_hospital_without_the_network_says_so_when_it_joins(site_root, tmp_path, monkeypatch):
    def nowhere(*_):
        raise WeightsError("no pretrained weights")

    monkeypatch.setattr(features, "pretrained", nowhere)
    (node,) = write_hospitals(site_root, tmp_path, ("anna",))
    assert answer(node, orders(study(METHODS[2]))[0], "query").error.reason == "WeightsError at anna"
    assert not answer(node, orders(study(METHODS[0]))[0], "query").has_error()
