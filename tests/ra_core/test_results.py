import csv
import itertools
from dataclasses import replace

import numpy as np
import pytest

from ra_core.metrics import Estimate, average, image_auroc
from ra_core.results import COLUMNS, ResultRow, average_rows, write_results

RESAMPLING = {"bootstrap": 100, "confidence": 0.9, "seed": 0}

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


def row(estimate, **changes):
    return ResultRow(**WHERE | {"estimate": estimate} | changes)


def measured(site):
    rng = np.random.default_rng(sum(site.encode()))
    labels = np.repeat([0, 1], 15)
    return image_auroc(rng.normal(labels), labels, [str(i) for i in range(30)], **RESAMPLING)


def test_a_row_is_an_estimate_and_its_place():
    found = row(Estimate(0.8, 0.7, 0.9, 5, 6))
    assert (found.value, found.ci_low, found.ci_high, found.n_healthy, found.n_anomalous) == (0.8, 0.7, 0.9, 5, 6)
    assert {name: getattr(found, name) for name in WHERE} == WHERE
    assert found.note == ""


def test_remark_and_the_estimates_note_stand_together():
    nothing = Estimate(None, None, None, 5, 0, "no anomalous images")
    assert row(nothing, remark="chosen").note == "chosen; no anomalous images"
    assert row(nothing).note == "no anomalous images"
    assert row(Estimate(0.5, None, None, 1, 1), remark="chosen").note == "chosen"


def test_a_table_reads_back_with_empty_cells_where_there_is_no_number(tmp_path):
    rows = [
        row(Estimate(1 / 3, 0.0, 1.0, 5, 6), remark='a, "b"'),
        row(Estimate(None, None, None, 5, 0, "no anomalous images")),
    ]
    write_results(tmp_path / "results.csv", rows)
    with (tmp_path / "results.csv").open(newline="") as file:
        header, first, second = csv.reader(file)
    assert ",".join(header) == (
        "arm,method,scoring,perceptual,train_sites,test_site,anomaly,metric,value,ci_low,ci_high,n_healthy,n_anomalous,"
        "seed,note"
    )
    assert tuple(header) == COLUMNS
    assert first[:8] == ["local", "ra", "paper", "0123456789ab", "a+b", "a", "all", "auroc"]
    assert first[8:] == ["0.333333", "0", "1", "5", "6", "3", 'a, "b"']
    assert second[8:11] == ["", "", ""]
    assert second[-1] == "no anomalous images"


def test_equal_rows_give_equal_bytes_in_the_order_given(tmp_path):
    rows = [row(Estimate(value, None, None, 1, 1)) for value in (0.3, 0.1)]
    for name in ("a", "b"):
        write_results(tmp_path / name, iter(rows))
    text = (tmp_path / "a").read_bytes()
    assert text == (tmp_path / "b").read_bytes()
    assert text.index(b"0.3") < text.index(b"0.1")
    assert b"\r" not in text


def test_rows_of_one_model_at_all_sites_are_averaged():
    rows = [row(measured(site), test_site=site, arm="federated") for site in "bca"]
    (found,) = average_rows(rows, "average of trained sites", **RESAMPLING)
    assert found.estimate == average([measured(site) for site in "abc"], **RESAMPLING)
    assert {name: getattr(found, name) for name in WHERE} == WHERE | {
        "arm": "federated",
        "test_site": "average of trained sites",
    }


def test_a_group_that_a_site_lacks_is_not_averaged():
    rows = [row(measured(site), test_site=site) for site in "ab"]
    rows.append(row(measured("a"), test_site="a", anomaly="rare"))
    assert [r.anomaly for r in average_rows(rows, "average", **RESAMPLING)] == ["all"]
    assert average_rows([], "average", **RESAMPLING) == []


@pytest.mark.parametrize("name", ["arm", "method", "scoring", "anomaly", "metric", "seed"])
def test_rows_of_different_things_are_not_averaged(name):
    other = 4 if name == "seed" else "other"
    rows = [row(measured("a"), test_site="a"), row(measured("b"), test_site="b", **{name: other})]
    assert average_rows(rows, "average", **RESAMPLING) == []


def test_models_that_each_site_has_for_itself_are_averaged_as_such():
    rows = [row(measured(site), test_site=site, train_sites=site) for site in "ab"]
    (found,) = average_rows(rows, "average", **RESAMPLING)
    assert (found.train_sites, found.test_site) == ("each its own", "average")
    assert found.estimate == average([measured("a"), measured("b")], **RESAMPLING)


def test_a_site_with_borrowed_images_has_a_model_of_its_own_too():
    rows = [row(measured(test), test_site=test, train_sites=train) for test, train in (("a", "a"), ("h", "n"))]
    assert [r.train_sites for r in average_rows(rows, "average", **RESAMPLING)] == ["each its own"]


def test_of_several_local_models_at_a_site_its_own_is_told_from_the_visitors():
    """Every local model is tested everywhere: each has its average, and so have the sites' own."""
    estimates = {key: measured("".join(key)) for key in itertools.product("ab", "ab")}
    rows = [row(e, train_sites=train, test_site=test) for (train, test), e in estimates.items()]
    found = {r.train_sites: r.estimate for r in average_rows(rows, "average", **RESAMPLING)}
    assert found == {
        "a": average([estimates["a", "a"], estimates["a", "b"]], **RESAMPLING),
        "b": average([estimates["b", "a"], estimates["b", "b"]], **RESAMPLING),
        "each its own": average([estimates["a", "a"], estimates["b", "b"]], **RESAMPLING),
    }


def test_averages_do_not_depend_on_the_order_of_rows():
    rows = [
        row(measured(site), test_site=site, metric=metric, remark=f"of {site}")
        for site in "abc"
        for metric in ("auroc", "auprc")
    ]
    found = average_rows(rows, "average", **RESAMPLING)
    assert [r.metric for r in found] == ["auprc", "auroc"]
    assert average_rows(rows[::-1], "average", **RESAMPLING) == found
    assert found[0].remark == "a: of a; b: of b; c: of c"


def test_a_remark_that_all_sites_share_stands_once():
    rows = [row(measured(site), test_site=site, remark="on validation images") for site in "ab"]
    assert average_rows(rows, "average", **RESAMPLING)[0].note == "on validation images"
    rows[1] = replace(rows[1], remark="", perceptual="")
    (found,) = average_rows(rows, "average", **RESAMPLING)
    assert (found.remark, found.perceptual) == ("a: on validation images", "0123456789ab")


def test_an_average_with_a_site_that_has_no_number_has_none():
    nothing = Estimate(None, None, None, 0, 9, "not estimable: no healthy test images")
    rows = [row(measured("a"), test_site="a"), row(nothing, test_site="h")]
    (found,) = average_rows(rows, "average", **RESAMPLING)
    assert (found.value, found.note) == (None, "not estimable at 1 of 2 sites")


def test_two_rows_about_the_same_thing_are_refused():
    with pytest.raises(ValueError, match="two rows of auroc"):
        average_rows([row(measured("a")), row(measured("b"))], "average", **RESAMPLING)
