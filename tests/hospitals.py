"""Tiny hospitals on disk and a tiny study for them, for the tests of a federation."""

import csv

import torch
import yaml

from ra_core.config import StudyConfig
from ra_core.hashing import tensor_digest
from simulation.engines import Node

SETTINGS = {
    "preprocessing": {"size": 32},
    "method": {"channels": [4, 8, 8], "latent": 8, "warmup_steps": 2},
    "training": {"batch_size": 4},
    "federation": {"rounds": 2, "local_steps": 2},
}


def tiny_federation(method=SETTINGS["method"], **federation):
    return StudyConfig.model_validate(SETTINGS | {"method": method, "federation": SETTINGS["federation"] | federation})


def write_hospitals(site_root, folder, names=("anna", "berta"), policies=None):
    """Hospitals with the images of `site_root`, each without some of them; manifests and configs are in `folder`.

    What was seen in the images is kept for all tests of this process: who changes how images are read or prepared gives
    a cache of its own.
    """
    policies = policies or {}
    header, *rows = list(csv.reader((site_root / "manifest.csv").open()))
    return [
        _write(site_root, folder, name, header, rows[place:], policies.get(name, {}))
        for place, name in enumerate(names)
    ]


def _write(site_root, folder, name, header, rows, policy):
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / f"{name}.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([header, *([row[0], name, *row[2:]] for row in rows)])
    settings = {
        "name": name,
        "anatomy": "none",
        "modality": "OT",
        "data": {"site": name, "manifest": str(manifest)},
        "runtime": {"threads": 1},
        "policy": policy,
    }
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(settings))
    return Node(name, config, site_root, folder / "state", site_root.with_name("cache"))


def model_digest(model):
    return tensor_digest({name: torch.from_numpy(array) for name, array in model.items()})
