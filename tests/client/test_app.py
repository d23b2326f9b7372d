"""Two sites train together in one process, through the same apps as in a real federation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from federating import answer_of, first_model, note_joined, train_hospitals
from hospitals import SETTINGS, model_digest, tiny_federation, write_hospitals

import client.app as client_app
from client.ledger.book import Ledger
from client.rounds import Site
from client.site import open_site
from ra_core.config import RuntimeConfig, SiteConfig, StudyConfig
from ra_core.data import cache
from ra_core.errors import StateError
from ra_core.installed import package_hash
from ra_core.messages import SITE_FAILED, DeliveryOrder, DeliveryReply, JoinOrder, JoinReply, RoundOrder, RoundReply
from ra_core.models.ra import RA
from ra_core.runtime import Runtime
from ra_core.settings import load_config
from ra_core.storage import load_tensors
from server.rounds.orders import Orders

pytestmark = pytest.mark.slow

ONE_THREAD = RuntimeConfig(threads=1)


@pytest.fixture
def hospitals(site_root, tmp_path):
    return write_hospitals(site_root, tmp_path)


def order(study, **changes):
    fields = {"round": 1, "base_round": 0, "best_round": 0, "start_step": 0, "steps": 2, "proximal_mu": 0.0}
    names = {"run": "run", "package_hash": package_hash()}
    return RoundOrder(study=study, model=first_model(study), **names | fields | changes)


def answer(settings, study, run_config=None, sent=None, kind="train"):
    """One answer of a node with these settings."""
    return answer_of(settings, sent or order(study), kind, run_config)


@pytest.fixture
def joined(hospitals, tmp_path):
    """Both sites have joined the run of `order`."""
    for node in hospitals:
        note_joined(Ledger.of(tmp_path / "state", node.site), order(tiny_federation()))


def kept(tmp_path, site="anna"):
    return sorted(int(path.stem.removeprefix("round_")) for path in (tmp_path / "state" / site).rglob("round_*"))


def test_two_sites_train_one_model_and_their_order_does_not_matter(hospitals):
    done = train_hospitals(hospitals, tiny_federation())
    assert [record.answered for record in done.records] == [("anna", "berta")] * 3
    assert done.records[0].n_images == 23
    assert done.best_round == 2
    assert model_digest(train_hospitals(hospitals, tiny_federation(), order=[1, 0]).model) == model_digest(done.model)


def join_order(**changes):
    return JoinOrder(**{"study": tiny_federation(), "run": "run", "package_hash": package_hash()} | changes)


def test_a_site_that_joins_says_what_it_has_in_counts(hospitals):
    sent = join_order()
    reply = answer(hospitals[1].settings(ONE_THREAD), None, sent=sent, kind="query")
    found = JoinReply.from_record(reply.content)
    assert (found.site, found.study_digest, found.package_hash) == ("berta", sent.study.digest(), package_hash())
    assert (found.anatomy, found.modality) == ("none", "OT")
    assert (found.n_images, found.n_patients, found.n_val, found.n_val_patients) == (11, 11, 5, 5)
    assert (found.n_used, found.n_declared) == (28, 28)


def test_studies_that_prepare_images_in_ever_new_ways_fill_no_disk(hospitals, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 2)
    settings = hospitals[0].settings(ONE_THREAD) | {"cache": str(tmp_path / "cache")}
    for size in (32, 64, 96, 128):
        study = tiny_federation()
        prepared = study.preprocessing.model_copy(update={"size": size})
        sent = join_order(study=study.model_copy(update={"preprocessing": prepared}))
        answer(settings, None, sent=sent, kind="query")
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize(("sent", "kind"), [(join_order(), "query"), (order(tiny_federation()), "train")])
def test_a_site_does_nothing_for_a_server_of_another_version(hospitals, sent, kind):
    reply = answer(hospitals[0].settings(ONE_THREAD), None, sent=replace(sent, package_hash="0" * 64), kind=kind)
    assert reply.error.reason == "VersionError at anna"


def test_a_site_takes_the_model_while_its_images_are_away(hospitals, tmp_path):
    done = train_hospitals(hospitals, tiny_federation())
    (tmp_path / "anna.csv").unlink()
    record = Orders(tiny_federation(), "run").delivery({1: "anna"}, done)[1]
    sent = DeliveryOrder.from_record(record)
    reply = answer(hospitals[0].settings(ONE_THREAD), None, sent=sent, kind="query.deliver")
    found = DeliveryReply.from_record(reply.content)
    assert (found.site, found.model_hash) == ("anna", model_digest(done.best))


def test_private_parts_stay_at_the_site_and_survive_a_repeated_run(hospitals, tmp_path):
    study = tiny_federation(parts=["encoder"], rounds=3)
    done = train_hospitals(hospitals, study)
    assert all(name.startswith("encoder.") for name in done.model)
    assert kept(tmp_path) == [1, 2, 3]
    assert model_digest(train_hospitals(hospitals, study).model) == model_digest(done.model)


@pytest.fixture
def site(hospitals, tmp_path):
    study = tiny_federation(parts=["encoder"])
    config = load_config(hospitals[0].site_config, SiteConfig)
    images = open_site(config, study.preprocessing, hospitals[0].data_root, None)
    return Site(config, images, Runtime.resolve(config.runtime, "auto"), tmp_path / "state" / "anna")


def test_kept_are_a_round_the_two_before_it_and_the_best_one(site, tmp_path):
    study = tiny_federation(parts=["encoder"], rounds=9)
    for number, base, best, expected in (
        (1, 0, 0, [1]),
        (2, 1, 0, [1, 2]),
        (3, 2, 1, [1, 2, 3]),
        (4, 3, 1, [1, 2, 3, 4]),
        (5, 4, 1, [1, 3, 4, 5]),
        (6, 4, 4, [3, 4, 6]),  # its answer in round 5 came too late
        (7, 6, 4, [4, 6, 7]),
        (7, 6, 4, [4, 6, 7]),  # the server was killed
        (6, 4, 4, [4, 6]),  # and lost a checkpoint
        (1, 0, 0, [1]),  # the study is begun anew
    ):
        site.answer(order(study, round=number, base_round=base, best_round=best, steps=1))
        assert kept(tmp_path) == expected


def test_a_repeated_round_gives_the_same_update(site):
    study = tiny_federation(parts=["encoder"], rounds=9)
    site.answer(order(study, steps=1))
    first = site.answer(order(study, round=2, base_round=1, steps=1)).update
    again = site.answer(order(study, round=2, base_round=1, steps=1)).update
    assert all(np.array_equal(first[name], again[name]) for name in first)


def lose(tmp_path):
    for path in (tmp_path / "state" / "anna").rglob("round_*"):
        path.unlink()


def damage(tmp_path):
    for path in (tmp_path / "state" / "anna").rglob("round_*"):
        path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("federation", [{"parts": ["encoder"]}, {"keep_optimizer": True}], ids=["layers", "optimizer"])
@pytest.mark.parametrize("harm", [lose, damage])
def test_a_site_that_lost_what_it_kept_says_so_and_never_starts_afresh(site, tmp_path, federation, harm):
    study = tiny_federation(rounds=9, **federation)
    site.answer(order(study, steps=1))
    harm(tmp_path)
    with pytest.raises(StateError, match="round 1"):
        site.answer(order(study, round=2, base_round=1, steps=1))
    assert site.answer(order(study, round=2, steps=1)).n_images == 12  # it has no round behind it


def test_what_another_run_has_left_is_not_used(site):
    study = tiny_federation(parts=["encoder"], rounds=9)
    site.answer(order(study, steps=1, run="first"))
    with pytest.raises(StateError, match="another run"):
        site.answer(order(study, round=2, base_round=1, steps=1, run="second"))


def test_a_site_without_anything_of_its_own_needs_nothing_kept(site, tmp_path):
    study = tiny_federation(rounds=9)
    site.answer(order(study, steps=1))
    assert kept(tmp_path) == []
    assert site.answer(order(study, round=2, base_round=1, steps=1)).round == 2


def test_optimizers_go_on_where_they_are_kept(site):
    updates = {}
    for keep in (True, False):
        study = tiny_federation(rounds=9, keep_optimizer=keep)
        site.answer(order(study, steps=2))
        updates[keep] = site.answer(order(study, round=2, base_round=1, start_step=2, steps=2)).update
    assert any(not np.array_equal(updates[True][name], codes) for name, codes in updates[False].items())


def test_counts_of_batches_stay_integers(site, tmp_path):
    study = StudyConfig.model_validate(SETTINGS | {"method": SETTINGS["method"] | {"norm": "batch"}})
    reply = site.answer(order(study, steps=2))
    assert not any("num_batches" in name for name in reply.update)
    (file,) = (tmp_path / "state" / "anna").rglob("round_1.safetensors")
    tensors, _ = load_tensors(file)
    assert {t.dtype for t in tensors.values()} == {torch.int64}
    site.answer(order(study, round=2, base_round=1, start_step=2, steps=2))
    again, _ = load_tensors(file.with_name("round_2.safetensors"))
    assert all(again[name] > count for name, count in tensors.items())


def test_local_norms_are_never_sent(hospitals):
    done = train_hospitals(hospitals, tiny_federation(local_norms=True))
    assert done.model
    assert not any("norm" in name for name in done.model)


def test_a_term_that_some_steps_lack_is_the_mean_of_those_that_have_it(site, monkeypatch):
    """As in a round that goes over the end of the warm-up."""

    def training_step(_, batch, state):
        return {"error": 1.0 + state.step} | ({"kl_gap": 6.0} if state.step == 2 else {})

    monkeypatch.setattr(RA, "training_step", training_step)
    metrics = site.answer(order(tiny_federation(), steps=3)).metrics
    assert (metrics["error"], metrics["kl_gap"]) == (2.0, 6.0)


def test_fedprox_pulls_the_update_together(site):
    study = tiny_federation()
    sizes = {}
    for mu in (0.0, 100.0):
        reply = site.answer(order(study, steps=8, proximal_mu=mu))
        sizes[mu] = sum(float(np.abs(codes.astype(float)).sum()) for codes in reply.update.values())
    assert sizes[100.0] < sizes[0.0]


@pytest.mark.usefixtures("joined")
def test_what_fails_at_a_site_is_told_by_its_kind_and_site_alone(hospitals, tmp_path):
    manifest = tmp_path / "anna.csv"
    manifest.write_text(manifest.read_text().replace("train_healthy_0.png", "patient_seven.png"))
    reply = answer(hospitals[0].settings(ONE_THREAD), tiny_federation())
    assert (reply.error.code, reply.error.reason) == (SITE_FAILED, "ManifestError at anna")


@pytest.mark.usefixtures("joined")
def test_a_bug_too_is_told_by_its_kind_alone(hospitals, monkeypatch):
    def broken(*_):
        raise RuntimeError("patient seven")

    monkeypatch.setattr(Site, "answer", broken)
    assert answer(hospitals[0].settings(ONE_THREAD), tiny_federation()).error.reason == "RuntimeError at anna"


@pytest.mark.usefixtures("joined")
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


@pytest.mark.usefixtures("joined")
def test_a_changed_manifest_is_read_anew(hospitals, tmp_path):
    settings = hospitals[0].settings(ONE_THREAD)
    assert RoundReply.from_record(answer(settings, tiny_federation()).content).n_images == 12
    lines = (tmp_path / "anna.csv").read_text().splitlines(keepends=True)
    (tmp_path / "anna.csv").write_text("".join([lines[0], *lines[3:]]))
    assert RoundReply.from_record(answer(settings, tiny_federation()).content).n_images == 10


@pytest.mark.usefixtures("joined")
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
