"""An invented experiment: two sites trained on, one held out, one without healthy test images."""

import io
import random
from dataclasses import replace

import pytest
from PIL import Image

from ra_core.evaluation import CHOSEN_NOTE
from ra_core.metrics import Estimate
from ra_core.results import ResultRow
from server.rounds.progress import RoundRecord
from simulation.report.data import ArmFacts, Gallery, ReportData, SiteFacts

STUDY = {
    "seed": 3,
    "evaluation": {"confidence": 0.95, "bootstrap": 1000, "pixel_fpr": 0.05, "image_fpr": 0.05},
    "training": {"steps": 4000},
}
SCORINGS = ("paper", "residual", "residual_top", "standardised_residual")
GROUPS = ("bright", "dark", "ring", "subtle", "medium", "strong", "size: small", "size: large")
AVERAGE = "average of trained sites"
TRAINED = ("mr_t1", "mr_t2")
PLACES = (*TRAINED, "mr_pd", "covid", AVERAGE)
COUNTS = {"mr_t1": (60, 58), "mr_t2": (60, 60), "mr_pd": (40, 41), "covid": (0, 34), AVERAGE: (120, 118)}
LEVEL = {"federated": 0.82, "pooled": 0.84, "local": 0.74, "nearest_neighbour": 0.7, "pca": 0.64}


def site(name, **changed):
    facts = {
        "title": f"Hospital {name}",
        "role": "trained" if name in TRAINED else "held out",
        "anatomy": "brain",
        "modality": "MR",
        "n_train": 160 if name in TRAINED else 0,
        "n_val": 40,
        "n_test_healthy": COUNTS[name][0],
        "n_test_anomalous": COUNTS[name][1],
        "used_files": 300,
        "declared_files": 303,
        "reference": name,
        "pictures": True,
    }
    return SiteFacts(name=name, **(facts | changed))


def record_of(number, answered=TRAINED, reasons=None):
    errors = {name: {"validation_error": 0.02 / number + 0.001 * i} for i, name in enumerate(answered)}
    mean = sum(found["validation_error"] for found in errors.values()) / len(errors)
    silent = {name: "no answer before the deadline" for name in TRAINED if name not in answered}
    return RoundRecord(
        round=number,
        closing=False,
        asked=TRAINED,
        answered=tuple(answered),
        missing=silent | (reasons or {}),
        n_images=320,
        validation_error=mean,
        by_site=errors,
        images=dict.fromkeys(answered, 160),
        files={},
        fingerprints=dict.fromkeys(answered, "f" * 64),
        ledgers=dict.fromkeys(answered, (number, "e" * 64)),
    )


def history(steps):
    rows = []
    for step in range(20, steps + 1, 20):
        row = {"step": step, "error": 0.05 / (1 + step / 300) + 0.004, "kl_real": 30 + 400 / (1 + step / 200)}
        if step > steps / 2:
            row |= {"kl_reconstructed": 40.0 + step / 100, "kl_fake": 45.0 + step / 50, "reversed": 0.1}
        if step % 500 == 0:
            row["validation_error"] = row["error"] * 1.2
        rows.append(row)
    return rows


def arm(kind, train_sites="mr_t1+mr_t2", **changed):
    facts = {
        "name": kind if kind != "local" else f"local: {train_sites}",
        "steps": 4000,
        "selected": "round 12 of 20" if kind == "federated" else "step 3500 of 4000",
        "model_hash": (kind.encode().hex() * 8)[:64],
        "seconds": 754.2,
        "history": history(4000),
        "rounds": [
            record_of(1),
            record_of(2, ("mr_t1",)),
            record_of(3, ("mr_t1",), {"mr_t2": "a metric is not finite"}),
        ]
        + [record_of(number) for number in range(4, 22)]
        if kind == "federated"
        else [],
        "chosen": {"mr_t1": "residual_top", "mr_t2": "residual", "mr_pd": "residual_top", "covid": "residual"},
        "warmup_steps": 2000,
    }
    return ArmFacts(kind=kind, train_sites=train_sites, **(facts | changed))


def rows():
    """Every row that such an experiment has; the same numbers each time."""
    draws = random.Random(0)
    found = []

    def add(kind, method, scoring, train_sites, place, anomaly, metric, level):
        n_healthy, n_anomalous = COUNTS[place]
        wide = 0.04 if place == AVERAGE else 0.07
        value = min(0.98, max(0.02, level + draws.uniform(-0.05, 0.05)))
        estimate = Estimate(value, max(0, value - wide), min(1, value + wide), n_healthy, n_anomalous)
        if not n_healthy and metric not in ("detection_rate", "pixel_auprc"):
            estimate = Estimate(None, None, None, 0, n_anomalous, "not estimable: no healthy test images")
        remark = "healthy reference images of mr_t1" if place == "covid" else ""
        if method in ("nearest_neighbour", "pca") and scoring == "residual":
            remark = "; ".join(part for part in (remark, CHOSEN_NOTE) if part)
        found.append(
            ResultRow(kind, method, scoring, "", train_sites, place, anomaly, metric, estimate, STUDY["seed"], remark)
        )

    def measure(kind, method, scoring, train_sites, place, level):
        add(kind, method, scoring, train_sites, place, "all", "auroc", level)
        add(kind, method, scoring, train_sites, place, "all", "pixel_auprc", 0.5 * level - 0.1)
        if method != "shortcut":
            add(kind, method, scoring, train_sites, place, "all", "detection_rate", level - 0.3)
            add(kind, method, scoring, train_sites, place, "all", "false_alarm_rate", 0.08)
            for i, group in enumerate(GROUPS):
                for metric in ("auroc", "pixel_auprc", "detection_rate"):
                    add(kind, method, scoring, train_sites, place, group, metric, level - 0.04 * i)

    for place in PLACES:
        each = "each its own" if place == AVERAGE else place
        for method in ("nearest_neighbour", "pca"):
            for scoring in ("residual", "chosen") if place == AVERAGE else ("residual",):
                measure("local", method, scoring, each, place, LEVEL[method])
        for name, level in (("brightness", 0.55), ("foreground", 0.5), ("sharpness", 0.2)):
            measure("local", "shortcut", name, each, place, level)
        for kind, train_sites in (
            ("federated", "mr_t1+mr_t2"),
            ("pooled", "mr_t1+mr_t2"),
            ("local", "mr_t1"),
            ("local", "mr_t2"),
            *([("local", "each its own")] if place == AVERAGE else []),
        ):
            for i, scoring in enumerate((*SCORINGS, "chosen") if place == AVERAGE else SCORINGS):
                measure(kind, "ra", scoring, train_sites, place, LEVEL[kind] - 0.03 * abs(i - 2))
                if place != AVERAGE:
                    for spoiled in ("bright", "blur"):
                        add(kind, "ra", scoring, train_sites, place, f"synthetic: {spoiled}", "auroc", 0.8)
            for metric, level in (("ssim", 0.6), ("lpips", 0.4), ("squared_error", 0.02)):
                add(kind, "ra", "reconstruction", train_sites, place, "healthy", metric, level)
    return found


def png():
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((1400, 900)).save(buffer, format="png")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def experiment():
    return ReportData(
        title="Three virtual hospitals",
        command="ra-simulate run cohort.yaml --out out/cohort",
        record={
            "status": "completed",
            "plan": {"study": STUDY},
            "software": {"torch": "2.9.0", "federated-ra": "0.1.0"},
            "runtime": {"device": "cpu", "threads": 2, "precision": "bf16", "processor": "AVX512-BF16"},
            "seconds": {"training: federated": 754.2, "evaluation": 61.0},
        },
        rows=rows(),
        sites=[site("mr_t1"), site("mr_t2"), site("mr_pd"), site("covid", reference="mr_t1")],
        arms=[arm("federated"), arm("pooled"), arm("local", "mr_t1"), arm("local", "mr_t2")],
        galleries=[Gallery("federated", "mr_t1", "residual_top", 0.0123, png())],
    )


@pytest.fixture(scope="session")
def small(experiment):
    """The federated model alone at one site, for what needs no more."""
    there = [row for row in experiment.rows if row.test_site == "mr_t1" and row.metric in {"auroc", "pixel_auprc"}]
    rows = [row for row in there if row.arm == "federated" or row.method != "ra"]
    return replace(experiment, rows=rows, sites=experiment.sites[:1], arms=experiment.arms[:1])
