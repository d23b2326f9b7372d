import csv
from dataclasses import replace

import numpy as np
import pytest
from html_pages import Page
from scipy.stats import binomtest

from ra_core.data import ImageSet
from ra_core.data.manifest import Manifest
from ra_core.thresholds import EDGES, Histogram, conformal_threshold
from ra_core.thresholds.shrinkage import consortium, shrunken
from simulation.grid.alarms import Alarms, alarms, healthy_cells
from simulation.grid.page import PAGE, RESULTS, TABLES, write_study
from simulation.grid.result import CellResult, HealthyScores, load, save

TRAINED = ("north", "south", "east")
CAPTION = "fedavg, residual: achieved rate of false alarms, 0.05 asked"


@pytest.fixture(scope="module")
def page(written):
    return Page((written / PAGE).read_text())


@pytest.fixture(scope="module")
def cell(study):
    return next(result for result in study.results if result.key == "VAE.fedavg.seed0")


def scores_of(kept):
    return Histogram(kept).highest()


def test_each_rate_is_that_of_its_threshold_on_healthy_test_patients(cell):
    found = alarms(cell, TRAINED, 0.05)
    val = {site: scores_of(kept["residual"].val) for site, kept in cell.healthy.items()}
    reference = consortium([val[site] for site in TRAINED], 0.05)
    for site, scores in val.items():
        test = scores_of(cell.healthy[site]["residual"].test)
        limits = {
            "local": conformal_threshold(scores, 0.05, "study").value,
            "pooled": reference.pooled,
            "shrunken": EDGES[np.searchsorted(EDGES, shrunken(scores, reference))],
        }
        for way, limit in limits.items():
            one = found[Alarms(site, "residual", way)]
            if limit is None:
                assert (one.value, one.note) == (None, "15 of 19 needed")
                continue
            interval = binomtest(int((test > limit).sum()), len(test)).proportion_ci(method="exact")
            assert one.value == np.mean(test > limit)
            assert (one.ci_low, one.ci_high) == pytest.approx(tuple(interval))
            assert (one.n_healthy, one.n_anomalous) == (len(test), 0)


def test_a_held_out_site_brings_nothing_to_the_pooled_threshold(cell):
    strange = HealthyScores(val=Histogram.of([50.0] * 30).cells, test=cell.healthy["west"]["residual"].test)
    other = cell.model_copy(update={"healthy": cell.healthy | {"west": {"residual": strange}}})
    before, after = (alarms(found, TRAINED, 0.05) for found in (cell, other))
    assert before[Alarms("north", "residual", "pooled")] == after[Alarms("north", "residual", "pooled")]
    assert after[Alarms("west", "residual", "local")].value == 0


@pytest.mark.parametrize(
    ("val", "test", "way", "told"),
    [
        ([0.1] * 3, [0.1], "local", "3 of 19 needed"),
        ([0.1] * 3, [0.1], "pooled", "3 of 19 needed at all sites"),
        ([0.1] * 3, [0.1], "shrunken", "3 of 19 needed at all sites"),
        ([0.1] * 18, [0.1], "shrunken", "18 of 19 needed at all sites"),
        ([0.1] * 30, [], "local", "no healthy test patients"),
        ([0.1] * 29 + [2e6], [0.1], "local", "above all edges"),
        ([0.1] * 29 + [2e6], [0.1], "shrunken", "above all edges"),
        ([0.1] * 29 + [2e6], [0.1], "pooled", "no site of 4 patients, all within the edges"),
    ],
)
def test_where_there_is_no_rate_the_reason_is_told(cell, val, test, way, told):
    only = HealthyScores(val=Histogram.of(val).cells, test=Histogram.of(test).cells)
    found = alarms(cell.model_copy(update={"healthy": {"north": {"residual": only}}}), TRAINED, 0.05)
    assert (found[Alarms("north", "residual", way)].value, found[Alarms("north", "residual", way)].note) == (None, told)


def test_a_shrunken_threshold_above_all_edges_is_told_as_that(cell):
    high, wide = np.linspace(9e5, 1e6, 40), np.geomspace(1e-3, 1e6, 40)
    kept = {
        site: {"residual": HealthyScores(val=Histogram.of(val).cells, test=Histogram.of([0.1]).cells)}
        for site, val in (("north", high), ("south", wide))
    }
    found = alarms(cell.model_copy(update={"healthy": kept}), TRAINED, 0.05)
    notes = {found[Alarms(site, "residual", "shrunken")].note for site in kept}
    assert "above all edges" in notes


def test_patients_of_sites_too_small_for_a_reference_are_counted(cell):
    few = HealthyScores(val=Histogram.of([0.1] * 3).cells, test=Histogram.of([0.1]).cells)
    kept = {site: {"residual": few} for site in ("north", "south")}
    found = alarms(cell.model_copy(update={"healthy": kept}), TRAINED, 0.05)
    assert found[Alarms("north", "residual", "pooled")].note == "6 of 19 needed at all sites"


def test_healthy_patients_count_once_and_those_with_a_sick_image_do_not(site_root, tiny_study):
    rows = Manifest.load(site_root / "manifest.csv", site_root).select(split="test")
    healthy = [row for row in rows if row.label == "healthy"]
    sick = next(row for row in rows if row.label == "anomalous")
    mixed = replace(healthy[0], patient_id=sick.patient_id)
    kept = [mixed, sick, *(replace(row, patient_id="one") for row in healthy[1:3]), healthy[3]]
    images = ImageSet(kept, site_root, tiny_study.preprocessing, None)
    found = healthy_cells(images, np.array([9.0, 9.0, 0.2, 0.3, 0.1]))
    assert found == Histogram.of([0.3, 0.1]).cells


def test_the_table_has_every_rate_averaged_over_seeds(page, study):
    for way in ("local", "pooled", "shrunken"):
        cells = [study.alarms[f"RA.fedavg.seed{seed}"][Alarms("north", "residual", way)] for seed in (0, 1)]
        mean = np.mean([one.value for one in cells])
        assert page.cell(CAPTION, f"RA: {way}", "north").startswith(f"{mean:.3f} (")
    assert page.cell(CAPTION, "RA: local", "south").startswith("15 of 19 needed")
    assert page.cell(CAPTION, "RA: shrunken", "south").startswith("0.")
    assert page.tables[CAPTION][1][0] == "RA: local"  # ours come first


def test_a_picture_has_three_marks_a_site_the_rate_asked_and_what_lacks(written):
    text = (written / PAGE).read_text()
    for arm in ("fedavg", "pooled"):
        for scoring in ("residual", "paper"):
            svg = text.split(f'aria-label="RA, {arm}, {scoring}: achieved rate of false alarms"')[1].split("</svg>")[0]
            assert "15 of 19 needed" in svg
            for site in (*TRAINED, "west"):
                assert f">{site}</text>" in svg


def test_the_csv_and_the_markdown_have_them_too(written, study):
    with (written / RESULTS).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"].startswith("false_alarm_rate_")]
    assert len(rows) == sum(map(len, study.alarms.values()))
    row = next(row for row in rows if (row["method"], row["test_site"], row["scoring"]) == ("PCA", "east", "residual"))
    found = study.alarms["PCA.pooled.seed0"][Alarms("east", "residual", row["metric"].split("_")[-1])]
    assert (row["arm"], row["value"], row["anomaly"]) == ("pooled", f"{found.value:.6g}", "healthy")
    assert f"**{CAPTION}**" in (written / TABLES).read_text()


def test_no_promise_is_claimed_of_patients_who_chose_epoch_and_scoring(page):
    assert "Nothing is promised strictly where validation patients set thresholds" in page.prose()


@pytest.mark.usefixtures("undrawn")
def test_cells_without_scores_are_left_out_and_counted(with_results, study, tmp_path):
    shared = [
        result for result in study.results if result.arm in ("fedavg", "pooled") and result.method in ("RA", "PCA")
    ]
    old = [r.model_copy(update={"healthy": {}}) if r.method == "RA" else r for r in shared]
    write_study(tmp_path, with_results(old))
    found = Page((tmp_path / PAGE).read_text())
    assert f"4 of {len(shared)} cells keep no such scores" in found.prose()
    assert all(not row[0].startswith("RA:") for row in found.tables[CAPTION])
    write_study(tmp_path, with_results([r.model_copy(update={"healthy": {}}) for r in shared[:1]]))
    assert "Not answered: needs finished cells of fedavg or pooled that keep scores" in (
        Page((tmp_path / PAGE).read_text()).prose()
    )


def test_a_cells_file_without_scores_is_still_one_and_scores_come_back(cell, tmp_path):
    save(tmp_path, cell)
    assert load(tmp_path, cell.key) == cell
    before = cell.model_dump(exclude={"healthy"})
    assert CellResult.model_validate(before).healthy == {}
