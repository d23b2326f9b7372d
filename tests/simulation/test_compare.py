import csv
import json

import pytest

from ra_core.errors import DataError
from ra_core.results import COLUMNS
from simulation.compare import compare


def finished_run(folder, site, auroc, status="completed"):
    folder.mkdir()
    record = {
        "status": status,
        "plan": {"site": site},
        "chosen_scoring": "residual_top",
        "seconds": {"training": 120.0, "evaluation": 30.0},
        "model_hash": "abcdef0123456789",
    }
    (folder / "run.json").write_text(json.dumps(record))
    rows = [
        ("ra", "residual_top", "auroc", auroc, 0.5, 0.9),
        ("ra", "paper", "auroc", 0.25, None, None),
        ("pca", "residual", "pixel_auprc", None, None, None),
        ("ra", "reconstruction", "ssim", 0.5, 0.4, 0.6),
        ("ra", "residual_top", "oracle_dice", 0.1, 0.0, 0.2),
    ]
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for method, scoring, metric, value, low, high in rows:
            row = {"method": method, "scoring": scoring, "metric": metric, "value": value, "ci_low": low}
            row |= {"ci_high": high, "anomaly": "all", "n_healthy": 7, "n_anomalous": 9}
            writer.writerow(row)
    return folder


def test_runs_stand_side_by_side_with_their_chosen_scoring(tmp_path):
    text = compare([finished_run(tmp_path / "a", "here", 0.75), finished_run(tmp_path / "b", "there", 0.5)])
    here = next(line for line in text.splitlines() if line.startswith("| here"))
    assert here.startswith("| here | 7 / 9 | 0.75 (0.5–0.9) residual_top | 0.25 | – |")
    assert "| there | 7 / 9 | 0.5 (0.5–0.9) residual_top" in text
    assert "| here | 0.5 (0.4–0.6) | – | – | 2.0 | 0.5 | abcdef012345 |" in text


@pytest.mark.parametrize("gone", ["seconds", "chosen_scoring", "plan", "model_hash"])
def test_a_record_that_lacks_something_is_refused(tmp_path, gone):
    folder = finished_run(tmp_path / "a", "here", 0.75)
    record = json.loads((folder / "run.json").read_text())
    del record[gone]
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="no finished run"):
        compare([folder])


@pytest.mark.parametrize("content", ["", "method,scoring\n", "method,scoring\nra,paper\n"])
def test_results_without_rows_or_columns_are_refused(tmp_path, content):
    folder = finished_run(tmp_path / "a", "here", 0.75)
    (folder / "results.csv").write_text(content)
    with pytest.raises(DataError, match="no finished run"):
        compare([folder])


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    unfinished = finished_run(tmp_path / "a", "here", 0.75, status="training")
    for folder in (unfinished, tmp_path / "nothing"):
        with pytest.raises(DataError, match="no finished run"):
            compare([folder])
