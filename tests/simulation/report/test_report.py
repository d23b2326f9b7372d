import dataclasses
import json
import re
from itertools import pairwise

import pytest
from html_pages import Page

from ra_core.metrics import Estimate
from simulation.report import write_report
from simulation.report.data import ReportData

pytestmark = pytest.mark.slow

EVIL = "<script>alert(1)</script>\"'&$\\frac{$"


def read(tmp_path, data):
    write_report(tmp_path / "report.html", data)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(tmp_path_factory, experiment):
    return read(tmp_path_factory.mktemp("report"), experiment)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_every_number_of_the_main_table_is_that_of_its_row(page, experiment):
    row = next(
        r
        for r in experiment.rows
        if (r.arm, r.method, r.scoring, r.test_site, r.metric, r.anomaly)
        == ("federated", "ra", "residual", "mr_t2", "pixel_auprc", "all")
    )
    told = page.cell("Pixel AUPRC", "RA, federated", "mr_t2")
    assert told == f"{row.value:.3f} ({row.ci_low:.3f}–{row.ci_high:.3f})"
    baseline = next(
        r for r in experiment.rows if (r.method, r.test_site, r.metric, r.anomaly) == ("pca", "mr_pd", "auroc", "all")
    )
    assert page.cell("Image AUROC", "PCA", "mr_pd").startswith(f"{baseline.value:.3f} ")
    assert "60 healthy, 58 sick" in page.tables["Pixel AUPRC"][0][1]


def test_a_site_without_healthy_images_says_so_instead_of_a_number(page):
    assert page.cell("Image AUROC", "RA, federated", "covid") == "not estimable"
    assert "no healthy test images" in page.prose()
    assert re.match(r"0\.\d{3} \(", page.cell("Detection rate", "RA, federated", "covid"))


def test_whose_healthy_images_a_site_borrows_is_told_once_in_its_row(page):
    (row,) = [row for row in page.tables["Sites and their numbers of images"] if row[0].startswith("covid")]
    assert " ".join(row).count("healthy images of mr_t1") == 1
    assert page.prose().count("healthy images of mr_t1") == 1


def test_a_shortcut_that_points_the_other_way_is_read_that_way(page, experiment):
    row = next(r for r in experiment.rows if (r.scoring, r.test_site, r.metric) == ("sharpness", "mr_t1", "auroc"))
    assert row.value < 0.5
    told = page.cell("Image AUROC", "shortcut: sharpness", "mr_t1")
    assert told == f"{1 - row.value:.3f} ({1 - row.ci_high:.3f}–{1 - row.ci_low:.3f}) reversed"


def test_the_chosen_scoring_is_marked_and_its_own(page, text):
    assert page.cell("Image AUROC on test images", "residual_top", "mr_t1") == page.cell(
        "Image AUROC", "RA, federated", "mr_t1"
    )
    assert page.cell("Image AUROC on test images", "residual", "mr_t2") == page.cell(
        "Image AUROC", "RA, federated", "mr_t2"
    )
    assert len(re.findall('class="value chosen"', text)) == 3 + 3 + 4  # where a number is estimable


def test_rejected_and_missing_sites_are_named_with_round_and_reason(page):
    assert page.tables["RA, federated: answers rejected or missing"][1:] == [
        ["mr_t2", "2", "no answer before the deadline"],
        ["mr_t2", "3", "a metric is not finite"],
    ]


def test_the_page_needs_nothing_from_outside(text, page):
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "base"}
        assert attributes.get("src", "data:").startswith("data:")
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"@import|url\((?!#)", text)


def test_the_page_is_built_for_everybody(page):
    tags = page.tags
    assert ("html", {"lang": "en"}) in tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in tags if tag == "svg")
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in tags if tag == "th")
    assert len([tag for tag, _ in tags if tag == "caption"]) == len([tag for tag, _ in tags if tag == "table"])
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in tags if tag == "a"} <= set(ids)


def test_equal_data_give_equal_bytes(tmp_path, small):
    assert read(tmp_path, small) == read(tmp_path, small)


def test_whatever_sites_and_programs_say_is_shown_and_not_obeyed(tmp_path, small):
    site = dataclasses.replace(small.sites[0], title=EVIL, reference=EVIL)
    rounds = [dataclasses.replace(small.arms[0].rounds[0], missing={EVIL: EVIL})]
    evil = [dataclasses.replace(row, test_site="_$x$<b>") if row.anomaly == "bright" else row for row in small.rows]
    data = dataclasses.replace(
        small,
        title=EVIL,
        command=EVIL,
        record=small.record | {"runtime": {EVIL: EVIL}},
        sites=[site],
        arms=[dataclasses.replace(small.arms[0], name=EVIL, rounds=rounds)],
        galleries=[dataclasses.replace(small.galleries[0], site=EVIL)],
        rows=evil,
    )
    found = read(tmp_path, data)
    assert "<script" not in found
    assert "<b>" not in found.replace("<b>RA, ", "").replace("<b>mr_", "").replace("<b>covid", "")
    page = Page(found)
    assert EVIL in page.prose()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("status", ["completed", "degraded"])
def test_a_degraded_run_says_so_on_top(tmp_path, small, status):
    data = dataclasses.replace(small, record=small.record | {"status": status})
    told = "Not every site took part in every round (status: degraded)" in Page(read(tmp_path, data)).prose()
    assert told == (status == "degraded")


@pytest.mark.usefixtures("undrawn")
def test_a_federation_without_losses_says_that_nobody_was_missing(tmp_path, small):
    arm = dataclasses.replace(small.arms[0], rounds=small.arms[0].rounds[:1])
    data = dataclasses.replace(small, arms=[arm])
    assert "no site was rejected or missing in any round" in Page(read(tmp_path, data)).prose()


@pytest.mark.usefixtures("undrawn")
def test_one_local_model_alone_makes_a_report(tmp_path, experiment):
    arm = experiment.arms[2]
    rows = [row for row in experiment.rows if row.test_site == "mr_t1" and row.train_sites == "mr_t1"]
    data = ReportData(
        "One site", "ra-simulate train", experiment.record, rows, experiment.sites[:1], [arm], galleries=[]
    )
    page = Page(read(tmp_path, data))
    assert page.cell("Pixel AUPRC", "RA, local: mr_t1", "mr_t1")
    assert "Compared with nearest neighbour" in page.prose()
    assert "local model of the same site" not in page.prose()


@pytest.mark.usefixtures("undrawn")
def test_a_report_without_any_number_is_still_a_page(tmp_path, small):
    data = dataclasses.replace(small, rows=[], galleries=[])
    assert "not estimable" in Page(read(tmp_path, data)).prose()


def test_the_whole_record_stands_in_the_page(page, experiment):
    assert json.dumps(experiment.record, indent=2) in "".join(page.text)


def test_two_rows_about_the_same_thing_are_refused(tmp_path, experiment):
    twin = dataclasses.replace(experiment.rows[0], estimate=Estimate(0.5, 0.4, 0.6, 1, 1))
    with pytest.raises(ValueError, match="same thing"):
        write_report(tmp_path / "x.html", dataclasses.replace(experiment, rows=[*experiment.rows, twin]))
    assert not list(tmp_path.iterdir())
