"""The report reads what the evaluation writes: same names of methods, scorings, metrics and places."""

from dataclasses import replace

import pytest
import torch

from ra_core.baselines import evaluate_baselines
from ra_core.data import ImageSet, Manifest, SiteImages
from ra_core.evaluation import CHOSEN_NOTE, evaluate
from ra_core.models.registry import build_method
from ra_core.results import EACH_ITS_OWN, average_rows
from ra_core.scoring import SCORINGS, Scorer
from ra_core.table import Table
from simulation.report.data import CHOSEN
from simulation.report.findings import Findings
from simulation.report.metrics import METRICS
from simulation.report.sections import by_scoring, reconstruction, results

AVERAGE = "average of trained sites"
SITES = ("mr_t1", "mr_t2")


@pytest.fixture(scope="module")
def evaluated(site_root, tiny_study):
    """Rows of an untrained model, baselines and shortcuts at a site, and the name of the scoring chosen."""
    manifest = Manifest.load(site_root / "manifest.csv", site_root)
    splits = (
        ImageSet(manifest.select(split=split), site_root, tiny_study.preprocessing, None)
        for split in ("train", "val", "test", "calibration")
    )
    images, table = SiteImages("discs", *splits), Table("federated", "mr_t1+mr_t2", "mr_t1", 3, tiny_study.evaluation)
    method = build_method(tiny_study.method, tiny_study.preprocessing.size, 0)
    plain = [scoring for scoring in SCORINGS if not scoring.is_perceptual]
    found = evaluate(method, "ra", Scorer(None), images, table, device=torch.device("cpu"), scorings=plain)
    own = replace(table, arm="local", train_sites="mr_t1")
    return [*found.rows, *evaluate_baselines(images, own)], found.chosen.name, table.settings


@pytest.fixture
def findings(evaluated, experiment):
    rows, chosen, settings = evaluated
    elsewhere = [
        replace(row, test_site="mr_t2", train_sites="mr_t2" if row.train_sites == "mr_t1" else row.train_sites)
        for row in rows
    ]
    named = [replace(row, scoring=CHOSEN) if CHOSEN_NOTE in row.remark else row for row in (*rows, *elsewhere)]
    arm = replace(experiment.arms[0], chosen=dict.fromkeys(SITES, chosen))
    averages = average_rows(named, AVERAGE, **settings)
    return Findings(
        replace(
            experiment, rows=[*rows, *elsewhere, *averages], sites=experiment.sites[:2], arms=[arm, experiment.arms[2]]
        )
    )


def test_every_method_has_its_numbers_at_every_place(findings):
    assert [place.name for place in findings.places] == [*SITES, AVERAGE]
    lines = {line.label: line for line in findings.lines()}
    for label in ("RA, federated", "nearest neighbour", "PCA", "shortcut: brightness"):
        for place in findings.places:
            assert lines[label].find(place.name, "auroc", "all").ends, (label, place)
            assert lines[label].find(place.name, "pixel_auprc", "all").ends, (label, place)
    assert lines["nearest neighbour"].find("mr_t1", "detection_rate", "all").value is not None
    assert any(row.train_sites == EACH_ITS_OWN for row in findings.data.rows)


def test_every_metric_is_explained_and_every_section_filled(findings):
    assert {row.metric for row in findings.data.rows} <= set(METRICS)
    assert all(section.tables and section.panels for section in results(findings))
    assert len(by_scoring(findings)) == 3
    assert {table.caption for table in reconstruction(findings)} == {"SSIM", "Squared error"}
