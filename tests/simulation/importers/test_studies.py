"""The paper's studies on miniatures of its sets: they load, and what can be measured at each site is."""

from pathlib import Path

import pytest
import torch

from ra_core.console import TerminalReporter
from ra_core.evaluation import evaluate
from ra_core.models.configs import PCAConfig
from ra_core.models.registry import build_method
from ra_core.scoring import SCORINGS, Scorer
from ra_core.settings import load_config
from ra_core.site_scorer import batches
from ra_core.table import Table
from simulation.grid import GridConfig
from simulation.importers import PUBLIC_SETS
from simulation.places import open_places

STUDIES = Path(__file__).resolve().parents[3] / "simulation" / "studies"
NAMES = sorted(path.name for path in STUDIES.glob("paper_*.yaml"))
PLAIN = [scoring for scoring in SCORINGS if scoring.name == "residual"]
MEASURED = {
    "ixi": {"false_alarm_rate"},
    "fastmri": {"auroc", "detection_rate", "box_f1", "box_auroc"},
    "atlas": {"detection_rate", "pixel_auprc", "oracle_dice"},
    "grazpedwri": {"auroc", "detection_rate", "box_f1", "box_auroc"},
    "covid_radiography": {"auroc", "detection_rate"},
    "rsna": {"auroc", "detection_rate", "box_f1", "box_auroc"},
}
"""By site, numbers that have to be there."""


def test_every_set_is_in_one_study():
    sites = [entry.config.stem for name in NAMES for entry in load_config(STUDIES / name, GridConfig).sites]
    assert sorted(sites) == sorted(PUBLIC_SETS)


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_measured_is(root, tiny_study, name):
    study = load_config(STUDIES / name, GridConfig)
    small = study.study.preprocessing.model_copy(update={"size": 64})
    for place in open_places(study.sites, STUDIES, small, root, None, TerminalReporter()):
        method = build_method(PCAConfig(components=4), 64, 0)
        method.fit(batches(place.images.train, 16))
        table = Table("local", place.reference, place.name, 0, tiny_study.evaluation, borrowed=place.borrows)
        rows = evaluate(
            method, "pca", Scorer(None), place.images, table, device=torch.device("cpu"), scorings=PLAIN
        ).rows
        found = {row.metric for row in rows if row.anomaly == "all" and row.value is not None}
        assert MEASURED[place.name] <= found
        if place.name != "atlas":
            assert "pixel_auprc" not in found
        if place.name in ("ixi", "atlas"):
            assert "auroc" not in found
        assert ("box_f1" in found) == ("box_f1" in MEASURED[place.name])
