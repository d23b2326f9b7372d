import csv
from dataclasses import fields

from ra_core.metrics import Estimate
from ra_core.results import ResultRow, write_results

WHERE = {
    "arm": "local",
    "method": "ra",
    "scoring": "paper",
    "perceptual": "0123456789ab",
    "train_sites": "a+b",
    "test_site": "a",
    "anomaly": "all",
    "metric": "auroc",
    "seed": 3,
}


def test_a_row_is_an_estimate_and_its_place():
    row = ResultRow.of(Estimate(0.8, 0.7, 0.9, 5, 6), **WHERE)
    assert (row.value, row.ci_low, row.ci_high, row.n_healthy, row.n_anomalous) == (0.8, 0.7, 0.9, 5, 6)
    assert {name: getattr(row, name) for name in WHERE} == WHERE
    assert row.note == ""


def test_notes_of_row_and_estimate_stand_together():
    nothing = Estimate(None, None, None, 5, 0, "no anomalous images")
    assert ResultRow.of(nothing, "chosen", **WHERE).note == "chosen; no anomalous images"
    assert ResultRow.of(nothing, **WHERE).note == "no anomalous images"


def test_a_table_reads_back_with_empty_cells_where_there_is_no_number(tmp_path):
    rows = [
        ResultRow.of(Estimate(1 / 3, 0.0, 1.0, 5, 6), 'a, "b"', **WHERE),
        ResultRow.of(Estimate(None, None, None, 5, 0, "no anomalous images"), **WHERE),
    ]
    write_results(tmp_path / "results.csv", rows)
    with (tmp_path / "results.csv").open(newline="") as file:
        header, first, second = csv.reader(file)
    assert header == [field.name for field in fields(ResultRow)]
    assert first[:8] == ["local", "ra", "paper", "0123456789ab", "a+b", "a", "all", "auroc"]
    assert first[8:] == ["0.333333", "0", "1", "5", "6", "3", 'a, "b"']
    assert second[8:11] == ["", "", ""]
    assert second[-1] == "no anomalous images"


def test_equal_rows_give_equal_bytes_in_the_order_given(tmp_path):
    rows = [ResultRow.of(Estimate(value, None, None, 1, 1), **WHERE) for value in (0.3, 0.1)]
    for name in ("a", "b"):
        write_results(tmp_path / name, iter(rows))
    text = (tmp_path / "a").read_bytes()
    assert text == (tmp_path / "b").read_bytes()
    assert text.index(b"0.3") < text.index(b"0.1")
    assert b"\r" not in text
