"""Two sites train together in one process, through the same apps as a real federation."""

import csv

import numpy as np
import pytest
import torch
import yaml

import client.app as client_app
from client.rounds import Site
from client.site import open_site
from ra_core.config import SiteConfig, StudyConfig
from ra_core.hashing import tensor_digest
from ra_core.messages import RoundOrder
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from server.strategy import FederatedAveraging, Progress
from simulation.engine import InProcessGrid

SETTINGS = {
    "preprocessing": {"size": 64},
    "method": {"channels": [4, 8, 8], "latent": 8, "warmup_steps": 2},
    "training": {"batch_size": 4},
    "federation": {"rounds": 2, "local_steps": 2},
}


def study(**federation):
    return StudyConfig.model_validate(SETTINGS | {"federation": SETTINGS["federation"] | federation})


@pytest.fixture
def sites(site_root, tmp_path, monkeypatch):
    """Node configs of two sites: the same images under two names."""
    monkeypatch.setenv("RA_CACHE", str(tmp_path / "cache"))
    client_app._open.cache_clear()
    header, *rows = list(csv.reader((site_root / "manifest.csv").open()))
    nodes = []
    for name in ("anna", "berta"):
        manifest = f"manifest_{name}.csv"
        with (site_root / manifest).open("w", newline="") as file:
            csv.writer(file).writerows([header, *([row[0], name, *row[2:]] for row in rows)])
        settings = {
            "name": name,
            "anatomy": "none",
            "modality": "OT",
            "data": {"site": name, "manifest": manifest},
            "runtime": {"threads": 1, "precision": "fp32"},
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
        nodes.append(
            {
                "site-config": str(tmp_path / f"{name}.yaml"),
                "data-root": str(site_root),
                "state-folder": str(tmp_path / "state"),
            }
        )
    return nodes


def federate(nodes, config, order=None):
    method = build_method(config.method, config.preprocessing.size, config.seed)
    model = {name: tensor.numpy().copy() for name, tensor in shared_tensors(method, config.federation).items()}
    grid = InProcessGrid(client_app.app, nodes, order=order)
    strategy = FederatedAveraging(grid, config, method.ready_for_selection, poll_seconds=0)
    return strategy.run(Progress(model))


def digest(model):
    return tensor_digest({name: torch.from_numpy(array) for name, array in model.items()})


def test_two_sites_train_one_model_and_their_order_does_not_matter(sites):
    done = federate(sites, study())
    assert [record.answered for record in done.records] == [("anna", "berta")] * 3
    assert done.records[0].n_images == 24
    assert done.best_round == 2
    assert digest(federate(sites, study(), order=[1, 0]).model) == digest(done.model)


def test_private_parts_stay_at_the_site_and_survive_a_repeated_round(sites, tmp_path):
    config = study(parts=["encoder"])
    done = federate(sites, config)
    assert all(name.startswith("encoder.") for name in done.model)
    kept = sorted(path.name for path in (tmp_path / "state" / "anna").rglob("round_*.safetensors"))
    assert kept == ["round_1.safetensors", "round_2.safetensors"]
    assert digest(federate(sites, config).model) == digest(done.model)


def test_local_norms_are_never_sent(sites):
    done = federate(sites, study(local_norms=True))
    assert done.model
    assert not any("norm" in name for name in done.model)


def test_fedprox_pulls_the_update_together(sites, site_root):
    config = SiteConfig.model_validate(yaml.safe_load(open(sites[0]["site-config"]).read()))  # noqa: SIM115
    sizes = {}
    for mu in (0.0, 100.0):
        settings = study()
        images = open_site(config, settings, site_root, None)
        site = Site(config, images, client_app.Runtime.resolve(config.runtime), site_root / "state")
        method = build_method(settings.method, 64, 0)
        model = {n: t.numpy().copy() for n, t in shared_tensors(method, settings.federation).items()}
        reply = site.answer(RoundOrder(settings, 1, 0, 8, mu, model))
        sizes[mu] = sum(float(np.abs(codes.astype(float)).sum()) for codes in reply.update.values())
    assert sizes[100.0] < sizes[0.0]


def test_what_fails_at_a_site_is_told_by_its_kind_alone(sites, site_root):
    (site_root / "train_healthy_0.png").rename(site_root / "away.png")
    try:
        with pytest.raises(Exception, match="ManifestError") as caught:
            federate(sites, study())
    finally:
        (site_root / "away.png").rename(site_root / "train_healthy_0.png")
    assert "train_healthy_0" not in str(caught.value)
