"""Scores of healthy patients of 8 virtual hospitals, by one model that was trained on half of these."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.console import TerminalReporter
from ra_core.data import HeldImages
from ra_core.runtime import Runtime
from ra_core.scoring import Scorer
from ra_core.scorings import SCORINGS
from ra_core.site_scorer import SiteScorer
from simulation.arms import Arm, train_alone
from simulation.cohort.config import CohortConfig, HospitalConfig
from simulation.cohort.patient import virtual_patient

HOSPITALS = (
    HospitalConfig(name="t1_a", contrast="t1"),
    HospitalConfig(name="t1_b", contrast="t1", noise=0.035, blur_mm=0.7),
    HospitalConfig(name="t2_a", contrast="t2", noise=0.025, blur_mm=0.6),
    HospitalConfig(name="t2_b", contrast="t2", noise=0.015, blur_mm=1.2),
    HospitalConfig(name="flair_a", contrast="flair", bias=0.18),
    HospitalConfig(name="flair_b", contrast="flair", noise=0.03, bias=0.3),
    HospitalConfig(name="ct_a", contrast="ct", noise=0.035, bias=0.0),
    HospitalConfig(name="ct_b", contrast="ct", noise=0.05, bias=0.0),
)
TRAINED = ("t1_a", "t2_a", "flair_a", "ct_a")
SCORED = ("residual_top", "standardised_residual_top", "clahe_residual")
METHODS = {
    "ra": {"channels": [8, 16], "latent": 256, "w_kl": 1e-6},
    "vae": {"channels": [8, 16], "latent": 64},
    "pca": {},
}
FITTED = ("pca",)


def scored(given):
    """Scores (patients,) by hospital, by scoring."""
    steps = 1 if given.method in FITTED else given.steps
    half = {"warmup_steps": steps // 2} if given.method == "ra" else {}
    study = StudyConfig.model_validate(
        {
            "seed": given.seed,
            "preprocessing": {"size": 64},
            "method": METHODS[given.method] | {"name": given.method} | half,
            "training": {"steps": steps, "batch_size": 16, "precision": "fp32"},
            "federation": {"rounds": 1, "local_steps": steps},
        }
    )
    cohort = CohortConfig(hospitals=HOSPITALS, size=64, seed=given.seed)
    train = {h.name: pictures(cohort, h, "train", given.train) for h in HOSPITALS}
    val = torch.cat([pictures(cohort, h, "val", 16) for h in HOSPITALS if h.name in TRAINED])
    joined = HeldImages(torch.cat([train[name] for name in TRAINED]))
    machine = Runtime.resolve(RuntimeConfig(threads=given.threads), study.training.precision)
    with tempfile.TemporaryDirectory(prefix="ra-") as folder:
        arm = Arm("pooled", TRAINED)
        model = train_alone(arm, joined, HeldImages(val), study, machine, Path(folder), TerminalReporter()).method
    scorings = [s for s in SCORINGS if s.name in SCORED]
    found = {name: {} for name in SCORED}
    for hospital in HOSPITALS:
        site = SiteScorer.fit(model, Scorer(None), scorings, train[hospital.name].split(64), machine.device)
        for name, scores in site.scores(pictures(cohort, hospital, "test_healthy", given.patients).split(64)).items():
            found[name][hospital.name] = scores
    return found


def pictures(cohort, hospital, group, count):
    images = [virtual_patient(cohort, hospital, group, index).image for index in range(count)]
    return torch.from_numpy(np.stack(images)).float()[:, None]
