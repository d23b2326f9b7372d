"""Hospitals with enough healthy patients to calibrate on, and what their scores are when somebody sees all of them."""

import csv

import numpy as np
import torch
from conftest import HEADER, disc_image
from hospitals import SETTINGS, write_hospitals
from PIL import Image

from client.site import data_root, open_site
from ra_core.config import SiteConfig, StudyConfig
from ra_core.data.site_images import halves
from ra_core.models.registry import build_method
from ra_core.models.shared import load_shared
from ra_core.scoring import SCORINGS, Scorer
from ra_core.settings import load_config
from ra_core.site_scorer import SiteScorer, batches

COUNTS = {"train": 8, "val": 4, "calibration": 16}
TESTED = {"healthy": 5, "anomalous": 4}


def write_sites(folder, names, policies=None, counts=COUNTS, tested=None, pictures=2):
    """Hospitals with images of their own.

    Args:
        folder: for all of them.
        names: of the sites.
        policies: by name.
        counts: healthy patients by split.
        tested: test patients by label, of the sites where they are other than usual.
        pictures: of a patient of calibration.
    """
    nodes = []
    for seed, name in enumerate(names):
        root = folder / f"{name}_images"
        if not root.exists():
            _write_images(root, seed, counts, (tested or {}).get(name, TESTED), pictures)
        nodes += write_hospitals(root, folder, (name,), policies)
    return nodes


def _write_images(root, seed, counts, tested, pictures):
    root.mkdir()
    rng = np.random.default_rng(seed)
    parts = [(split, "healthy", count) for split, count in counts.items()]
    rows = []
    for split, label, count in [*parts, *(("test", label, count) for label, count in tested.items())]:
        for number in range(count):
            for slice_ in range(pictures if split == "calibration" else 1):
                name, patient = f"{split}_{label}_{number}_{slice_}.png", f"{split}_{label}_{number}"
                Image.fromarray(disc_image(rng, label == "anomalous")[0]).save(root / name)
                rows.append([name, "discs", "none", "OT", split, label, "", patient, "", "test", ""])
    with (root / "manifest.csv").open("w", newline="") as file:
        file.write(f"{HEADER}\n")
        csv.writer(file).writerows(rows)


def calibrating(rate=0.2, calibration=None, **federation):
    """A study that asks for calibration."""
    settings = {"federation": SETTINGS["federation"] | federation}
    evaluation = {"image_fpr": rate, "reference_images": 6}
    found = {"calibration": calibration or {}, "evaluation": evaluation}
    return StudyConfig.model_validate(SETTINGS | settings | found)


def all_scores(node, study, model, scoring="residual_top"):
    """One score a patient, the highest of the patient's images: first and second half, healthy and anomalous test."""
    config = load_config(node.site_config, SiteConfig)
    images = open_site(config, study.preprocessing, data_root(config, node.data_root), None).kept_back()
    method = build_method(study.method, study.preprocessing.size, study.seed)
    load_shared(method, study.federation, {name: torch.from_numpy(array) for name, array in model.items()})
    chosen = next(found for found in SCORINGS if found.name == scoring)
    scorer = SiteScorer(method, Scorer(None), [chosen], {}, torch.device("cpu"))
    test = images.test

    def highest(found):
        if not len(found):
            return np.zeros(0)
        patients = np.array([row.patient_id for row in found.rows])
        scores = scorer.scores(batches(found, 4))[scoring]
        return np.array([scores[patients == patient].max() for patient in sorted(set(patients))])

    by_label = [test.of_label("healthy"), test.of_label("anomalous")]
    return [highest(found) for found in (*halves(images.calibration), *by_label)]
