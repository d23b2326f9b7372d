"""Two sites train together in one process, through the same apps as in a real federation."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from flwr.app import Context, Message, RecordDict
from hospitals import model_digest, tiny_federation, write_hospitals

import client.app as client_app
from client.rounds import Site
from client.site import open_site
from ra_core.config import RuntimeConfig, SiteConfig
from ra_core.messages import RoundOrder, RoundReply
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from ra_core.settings import load_config
from server.progress import Progress
from server.strategy import FederatedAveraging
from simulation.engines import InProcessGrid

ONE_THREAD = RuntimeConfig(threads=1)


@pytest.fixture
def hospitals(site_root, tmp_path):
    return write_hospitals(site_root, tmp_path)


def first_model(study):
    method = build_method(study.method, study.preprocessing.size, study.seed)
    return {name: tensor.numpy().copy() for name, tensor in shared_tensors(method, study.federation).items()}


def federate(hospitals, study, order=None):
    grid = InProcessGrid(client_app.app, [node.settings(ONE_THREAD) for node in hospitals], order=order)
    names = [node.site for node in hospitals]
    method = build_method(study.method, study.preprocessing.size, study.seed)
    strategy = FederatedAveraging(grid, study, names, method.ready_for_selection, lambda _: None)
    return strategy.run(Progress(first_model(study)))


def order(study, **changes):
    fields = {"round": 1, "best_round": 0, "start_step": 0, "steps": 2, "proximal_mu": 0.0}
    return RoundOrder(study=study, model=first_model(study), **fields | changes)


def answer(settings, study, run_config=None):
    """One answer of a node with these settings."""
    context = Context(1, 1, settings, RecordDict(), run_config or {})
    InProcessGrid(client_app.app, [])  # a message needs a run
    return client_app.app(Message(order(study).to_record(), dst_node_id=1, message_type="train"), context)


def kept(tmp_path, site="anna"):
    return sorted(int(path.stem.removeprefix("round_")) for path in (tmp_path / "state" / site).rglob("round_*"))


def test_two_sites_train_one_model_and_their_order_does_not_matter(hospitals):
    done = federate(hospitals, tiny_federation())
    assert [record.answered for record in done.records] == [("anna", "berta")] * 3
    assert done.records[0].n_images == 23
    assert done.best_round == 2
    assert model_digest(federate(hospitals, tiny_federation(), order=[1, 0]).model) == model_digest(done.model)


def test_private_parts_stay_at_the_site_and_survive_a_repeated_run(hospitals, tmp_path):
    study = tiny_federation(parts=["encoder"], rounds=3)
    done = federate(hospitals, study)
    assert all(name.startswith("encoder.") for name in done.model)
    assert {2, 3} <= set(kept(tmp_path)) <= {1, 2, 3}
    assert model_digest(federate(hospitals, study).model) == model_digest(done.model)


@pytest.fixture
def site(hospitals, tmp_path):
    study = tiny_federation(parts=["encoder"])
    config = load_config(hospitals[0].site_config, SiteConfig)
    images = open_site(config, study, hospitals[0].data_root, None)
    return Site(config, images, client_app.Runtime.resolve(config.runtime, "auto"), tmp_path / "state" / "anna")


def test_private_layers_of_the_best_and_the_last_two_rounds_are_kept(site, tmp_path):
    study = tiny_federation(parts=["encoder"], rounds=9)
    for number, best, expected in (
        (1, 0, [1]),
        (2, 0, [1, 2]),
        (3, 1, [1, 2, 3]),
        (4, 1, [1, 3, 4]),
        (5, 1, [1, 4, 5]),
        (6, 4, [4, 5, 6]),
        (7, 4, [4, 6, 7]),
        (1, 0, [1]),  # the study is begun anew
    ):
        site.answer(order(study, round=number, best_round=best, steps=1))
        assert kept(tmp_path) == expected


def test_a_repeated_round_gives_the_same_update(site):
    study = tiny_federation(parts=["encoder"], rounds=9)
    site.answer(order(study, steps=1))
    first = site.answer(order(study, round=2, steps=1)).update
    again = site.answer(order(study, round=2, steps=1)).update
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_a_site_that_missed_rounds_goes_on_with_what_it_has(site, tmp_path):
    study = tiny_federation(parts=["encoder"], rounds=9)
    site.answer(order(study, steps=1))
    continued = site.answer(order(study, round=4, steps=1))
    for path in (tmp_path / "state" / "anna").rglob("round_*"):
        path.unlink()
    fresh = site.answer(order(study, round=4, steps=1))
    assert continued.metrics["validation_error"] != fresh.metrics["validation_error"]


def test_local_norms_are_never_sent(hospitals):
    done = federate(hospitals, tiny_federation(local_norms=True))
    assert done.model
    assert not any("norm" in name for name in done.model)


def test_fedprox_pulls_the_update_together(site):
    study = tiny_federation()
    sizes = {}
    for mu in (0.0, 100.0):
        reply = site.answer(order(study, steps=8, proximal_mu=mu))
        sizes[mu] = sum(float(np.abs(codes.astype(float)).sum()) for codes in reply.update.values())
    assert sizes[100.0] < sizes[0.0]


def test_what_fails_at_a_site_is_told_by_its_kind_and_site_alone(hospitals, tmp_path):
    manifest = tmp_path / "anna.csv"
    manifest.write_text(manifest.read_text().replace("train_healthy_0.png", "patient_seven.png"))
    reply = answer(hospitals[0].settings(ONE_THREAD), tiny_federation())
    assert (reply.error.code, reply.error.reason) == (client_app.FAILED, "ManifestError at anna")


def test_a_bug_too_is_told_by_its_kind_alone(hospitals, monkeypatch):
    def broken(*_):
        raise RuntimeError("patient seven")

    monkeypatch.setattr(Site, "answer", broken)
    assert answer(hospitals[0].settings(ONE_THREAD), tiny_federation()).error.reason == "RuntimeError at anna"


def test_threads_are_set_at_each_answer(hospitals, monkeypatch):
    found, before = [], torch.get_num_threads()
    monkeypatch.setattr(Site, "answer", lambda *_: found.append(torch.get_num_threads()))
    try:
        for threads in (2, 1, 2):
            torch.set_num_threads(1)
            answer(hospitals[0].settings(RuntimeConfig(threads=threads)), tiny_federation())
    finally:
        torch.set_num_threads(before)
    assert found == [2, 1, 2]


def test_a_changed_manifest_is_read_anew(hospitals, tmp_path):
    settings = hospitals[0].settings(ONE_THREAD)
    assert RoundReply.from_record(answer(settings, tiny_federation()).content).n_images == 12
    lines = (tmp_path / "anna.csv").read_text().splitlines(keepends=True)
    (tmp_path / "anna.csv").write_text("".join([lines[0], *lines[3:]]))
    assert RoundReply.from_record(answer(settings, tiny_federation()).content).n_images == 10


class TestSettings:
    def test_the_server_cannot_choose_paths(self, hospitals):
        settings = hospitals[0].settings(ONE_THREAD)
        evil = dict.fromkeys(settings, "/elsewhere")
        assert not answer(settings, tiny_federation(), evil).has_error()
        assert answer({}, tiny_federation(), dict(settings)).error.reason == "ConfigError"

    @pytest.mark.parametrize(
        ("missing", "kind"),
        [("site-config", "ConfigError"), ("data-root", "DataError"), ("state-folder", "ConfigError")],
    )
    def test_a_node_or_its_config_names_three_paths(self, hospitals, missing, kind):
        settings = hospitals[0].settings(ONE_THREAD)
        del settings[missing]
        assert answer(settings, tiny_federation()).error.reason.split(" at ")[0] == kind

    def test_root_and_state_may_stand_in_the_site_config(self, hospitals, tmp_path):
        settings = hospitals[0].settings(ONE_THREAD)
        site = yaml.safe_load(Path(settings["site-config"]).read_text())
        site["data"]["root"], site["state"] = settings.pop("data-root"), "state"
        (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
        assert not answer(settings | {"site-config": str(tmp_path / "site.yaml")}, tiny_federation()).has_error()
        del settings["state-folder"]
        assert not answer(settings | {"site-config": str(tmp_path / "site.yaml")}, tiny_federation()).has_error()
        assert (tmp_path / "state" / "anna" / "secret").exists()

    def test_a_simulated_node_has_its_place_in_a_list(self, hospitals, tmp_path, monkeypatch):
        nodes = [node.settings(ONE_THREAD) for node in hospitals]
        (tmp_path / "nodes.json").write_text(json.dumps(nodes))
        monkeypatch.setenv("RA_SIMULATION", str(tmp_path / "nodes.json"))
        reply = answer({"partition-id": 1, "num-partitions": 2}, tiny_federation())
        assert RoundReply.from_record(reply.content).site == "berta"

    def test_a_hospital_is_not_simulated(self, hospitals, tmp_path, monkeypatch):
        monkeypatch.setenv("RA_SIMULATION", str(tmp_path / "none.json"))
        settings = hospitals[0].settings(ONE_THREAD)
        assert client_app._settings(settings | {"partition-id": 1}) == settings | {"partition-id": 1}

    @pytest.mark.parametrize("text", [None, "", "{}", "[]", "[1, 2]", '["a", {}]'])
    def test_a_bad_list_is_a_config_error(self, tmp_path, monkeypatch, text):
        if text is not None:
            (tmp_path / "nodes.json").write_text(text)
        monkeypatch.setenv("RA_SIMULATION", str(tmp_path / "nodes.json"))
        with pytest.raises(client_app.ConfigError):
            client_app._settings({"partition-id": 1})

    def test_without_the_variable_a_simulated_node_knows_no_site(self, monkeypatch):
        monkeypatch.delenv("RA_SIMULATION", raising=False)
        with pytest.raises(client_app.ConfigError, match="no site-config"):
            client_app._settings({"partition-id": 0})

    @pytest.mark.parametrize("own", [{"threads": 0}, {"threads": "many"}, {"device": "toaster"}])
    def test_a_bad_machine_is_a_config_error(self, hospitals, own):
        reply = answer(hospitals[0].settings(ONE_THREAD) | own, tiny_federation())
        assert reply.error.reason == "ConfigError at anna"
