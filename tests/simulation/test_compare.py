import csv
import json
from pathlib import Path

import pytest

from ra_core.errors import DataError
from ra_core.evaluation import CHOSEN_NOTE as CHOSEN
from ra_core.results import COLUMNS
from simulation.compare import compare


def finished_run(folder, site, auroc, status="completed"):
    folder.mkdir(parents=True)
    record = {
        "status": status,
        "seconds": {"training federated": 120.0, "evaluation": 30.0},
        "model_hash": {"federated": "abcdef0123456789"},
    }
    (folder / "run.json").write_text(json.dumps(record))
    rows = [
        ("federated", "a+b", site, "ra", "residual_top", "auroc", auroc, 0.5, 0.9, CHOSEN),
        ("federated", "a+b", site, "ra", "paper", "auroc", 0.25, "", "", ""),
        ("local", "a", site, "ra", "paper", "auroc", 0.3, 0.2, 0.4, CHOSEN),
        ("local", site, site, "ra", "perceptual", "auroc", 0.4, 0.3, 0.5, CHOSEN),
        ("federated", "a+b", "average of trained sites", "ra", "residual_top", "auroc", 0.1, 0.1, 0.1, CHOSEN),
        ("federated", "a+b", "average of trained sites", "ra", "chosen", "auroc", 0.6, 0.5, 0.7, ""),
        ("local", site, site, "pca", "residual", "pixel_auprc", "", "", "", "not estimable"),
        ("local", site, site, "pca", "residual", "auroc", 0.55, "", "", ""),
        ("local", site, site, "pca", "residual_top", "auroc", 0.65, "", "", CHOSEN),
        ("local", site, site, "pca", "standardised_residual", "auroc", 0.2, "", "", ""),
        ("local", site, site, "shortcut", "brightness", "auroc", 0.5, 0.4, 0.6, ""),
    ]
    columns = ("arm", "train_sites", "test_site", "method", "scoring", "metric", "value", "ci_low", "ci_high", "note")
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(dict(zip(columns, row, strict=True)) | {"anomaly": "all"} for row in rows)
    return folder


def test_sites_of_all_runs_stand_side_by_side(tmp_path):
    text = compare([finished_run(tmp_path / "x", "here", 0.75), finished_run(tmp_path / "y", "there", 0.5)])
    lines = text.splitlines()
    assert "|  | here | x: average of trained sites | there | y: average of trained sites |" in lines
    cells = "0.75 (0.5–0.9) | 0.6 (0.5–0.7) | 0.5 (0.5–0.9) | 0.6 (0.5–0.7)"
    assert f"| RA federated, scoring chosen without labels | {cells} |" in lines
    assert "| RA federated, the paper's scoring | 0.25 | – | 0.25 | – |" in lines
    assert "| RA a's own, scoring chosen without labels | 0.3 (0.2–0.4) | – | 0.3 (0.2–0.4) | – |" in lines
    assert "| RA a's own, the paper's scoring | 0.3 (0.2–0.4) | – | 0.3 (0.2–0.4) | – |" in lines
    own = "| RA each site's own, scoring chosen without labels | 0.4 (0.3–0.5) | – | 0.4 (0.3–0.5) | – |"
    assert own in lines
    assert "| pca, plain residual | not estimable | not estimable |" in lines
    assert "| pca, plain residual | 0.55 | – | 0.55 | – |" in lines
    assert "| pca, scoring chosen without labels | 0.65 | – | 0.65 | – |" in lines
    assert "| x | completed | training federated | 2.0 | abcdef012345 |" in lines


def test_runs_of_one_site_are_told_apart(tmp_path):
    text = compare([finished_run(tmp_path / "x", "here", 0.75), finished_run(tmp_path / "y", "here", 0.5)])
    assert "|  | x: here | x: average of trained sites | y: here | y: average of trained sites |" in text
    assert "| RA federated, scoring chosen without labels | 0.75 (0.5–0.9) | 0.6 (0.5–0.7) | 0.5 (0.5–0.9) |" in text


def test_folders_of_one_name_are_told_apart_by_those_above(tmp_path):
    folders = [finished_run(tmp_path / name, "here", 0.75) for name in ("a/x/demo", "b/x/demo", "c/demo", "once")]
    text = compare(folders)
    runs = ["a/x/demo", "b/x/demo", "c/demo", "once"]
    assert f"|  | {' | '.join(f'{run}: here | {run}: average of trained sites' for run in runs)} |" in text
    assert all(f"| {run} | completed | evaluation | 0.5 |" in text for run in runs)


def test_a_folder_that_is_given_twice_counts_once(tmp_path, monkeypatch):
    once = compare([finished_run(tmp_path / "x", "here", 0.75)])
    monkeypatch.chdir(tmp_path)
    assert compare([tmp_path / "x", Path("x"), Path("x/../x")]) == once
    monkeypatch.chdir(tmp_path / "x")
    assert compare([Path()]) == once


@pytest.mark.parametrize("gone", ["seconds", "status", "model_hash"])
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
    unfinished = finished_run(tmp_path / "a", "here", 0.75, status="running")
    for folder in (unfinished, tmp_path / "nothing"):
        with pytest.raises(DataError, match="no finished run"):
            compare([folder])
