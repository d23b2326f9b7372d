import csv
import re
import statistics
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from html_pages import Page

from ra_core.metrics import Estimate
from ra_core.results import ResultRow
from simulation.grid.page import PAGE, RESULTS, TABLES, write_study
from simulation.grid.page.data import FEDERATED
from simulation.grid.page.doubts import doubts
from simulation.grid.page.lesions import lesions
from simulation.grid.page.numbers import difference
from simulation.grid.page.words import headline, helped
from simulation.grid.paired import Paired, Verdict
from simulation.grid.result import Number

pytestmark = pytest.mark.slow

TRAINED = ("north", "south", "east")
MEAN = "mean over trained sites"
ALARMS = {f"false_alarm_rate_{way}" for way in ("local", "pooled", "shrunken")}
COLUMNS = {  # metric, scoring, anomaly
    "Image AUROC": ("auroc", None, "all"),
    "Image AUPRC": ("auprc", None, "all"),
    "Pixel AUPRC": ("pixel_auprc", None, "all"),
    "Dice": ("dice", None, "all"),
    "SSIM": ("ssim", "reconstruction", "healthy"),
    "LPIPS": ("lpips", "reconstruction", "healthy"),
    "Image AUROC, plain residual": ("auroc", "plain", "all"),
    "Image AUROC, paper's scoring": ("auroc", "paper", "all"),
    "Pixel AUPRC, plain residual": ("pixel_auprc", "plain", "all"),
    "Pixel AUPRC, paper's scoring": ("pixel_auprc", "paper", "all"),
}


@pytest.fixture(scope="module")
def text(written):
    return (written / PAGE).read_text()


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def raw(study, number_of):
    """A number as it stands in the cells: by seed."""

    def find(method, arm, site, metric, scoring=None, anomaly="all"):
        variant = {"local": site, "leave_one_out": f"without {site}"}.get(arm, "")
        found = {}
        for result in study.results:
            if (result.method, result.arm, result.variant) == (method, arm, variant):
                name = scoring
                if scoring == "plain":
                    name = "distance" if method in ("PaDiM", "PatchCore", "Mahalanobis") else "residual"
                number = number_of(result, site, metric, name, anomaly)
                if number is not None and number.value is not None:
                    found[result.seed] = number.value
        return found

    return find


@pytest.fixture(scope="module")
def mean(raw):
    def find(method, arm, *what, seeds=None, sites=TRAINED):
        values = []
        for site in sites:
            by_seed = raw(method, arm, site, *what)
            values += [statistics.fmean(by_seed[seed] for seed in seeds or by_seed)] if by_seed else []
        return statistics.fmean(values) if len(values) == len(sites) else None

    return find


def told(cell):
    """The value of a table's cell; None where it has none."""
    return None if cell.startswith(("–", "not estimable")) else float(cell.split(" ")[0].replace("−", "-"))


def columns(page, caption):
    """By head of row and head of column."""
    for head, *rows in (page.tables[caption],):
        names = [re.sub(r"( held out)? ?(\[\d+\] )?\d+ (healthy|validation).*", "", name) for name in head]
        for row in rows:
            for name, cell in zip(names[1:], row[1:], strict=True):
                yield row[0].replace(" (classical)", ""), name, cell


@pytest.mark.parametrize("arm", ["pooled", "fedavg", "local"])
def test_every_number_of_the_methods_is_that_of_their_cells(page, mean, arm):
    seen = 0
    for method, column, cell in columns(page, f"{arm}: {MEAN}"):
        if not method.startswith("shortcut"):
            expected = mean(method, arm, *COLUMNS[column])
            assert told(cell) == (None if expected is None else pytest.approx(expected, abs=6e-4))
            seen += 1
    assert seen == 8 * (5 if arm == "fedavg" else 6)


@pytest.mark.parametrize("arm", ["pooled", "fedavg", "local"])
def test_places_scored_alike_are_those_of_their_cells(page, mean, arm):
    found = [*columns(page, f"{arm}: places, scored alike, {MEAN}")]
    for method, column, cell in found:
        expected = mean(method, arm, *COLUMNS[column])
        assert told(cell) == (None if expected is None else pytest.approx(expected, abs=6e-4))
    assert sum(told(cell) is not None for _, _, cell in found) > 2


def test_differences_to_ra_are_of_the_seeds_that_both_have(page, mean):
    for method, column, cell in columns(page, f"fedavg: RA minus the method, {MEAN}"):
        if not method.startswith("shortcut") and told(cell) is not None:
            what = COLUMNS[column]
            expected = mean("RA", "fedavg", *what, seeds=[0]) - mean(method, "fedavg", *what, seeds=[0])
            assert told(cell) == pytest.approx(expected, abs=6e-4)


def test_a_shortcut_is_read_in_its_better_direction(page, study, number_of):
    cells = [number_of(r, site, "auroc", "brightness").value for r in study.results[:1] for site in TRAINED]
    expected = statistics.fmean(max(value, 1 - value) for value in cells)
    assert told(page.cell(f"pooled: {MEAN}", "shortcut: brightness", "Image AUROC")) == pytest.approx(
        expected, abs=6e-4
    )


@pytest.mark.parametrize(("title", "metric"), [("Image AUROC", "auroc"), ("Pixel AUPRC", "pixel_auprc")])
def test_every_gain_of_federation_is_that_of_its_cells(page, mean, title, metric):
    for row, place, cell in columns(page, f"{title}: federated minus the site's own model"):
        method, arm = row.split(", ")
        sites = TRAINED if place == MEAN else (place,)
        expected = mean(method, arm, metric, sites=sites) - mean(method, "local", metric, sites=sites)
        assert told(cell) == pytest.approx(expected, abs=6e-4)


def test_every_gap_to_pooled_is_that_of_its_cells(page, mean):
    found = [*columns(page, f"Federated minus pooled, {MEAN}")]
    assert {row for row, _, _ in found} >= {"RA, fedprox", "RA, encoder_only", "PCA, fedavg"}
    for row, column, cell in found:
        method, arm = row.split(", ")
        ours, theirs = (mean(method, way, *COLUMNS[column]) for way in (arm, "pooled"))
        assert told(cell) == (None if ours is None else pytest.approx(ours - theirs, abs=6e-4))


def test_every_gap_to_plain_averaging_is_that_of_its_cells(page, mean):
    found = [*columns(page, f"Each federated way minus plain averaging (fedavg), {MEAN}")]
    assert {row for row, _, _ in found} == {f"RA, {arm}" for arm in FEDERATED if arm != "fedavg"}
    for row, column, cell in found:
        what = COLUMNS[column]
        expected = mean("RA", row.removeprefix("RA, "), *what) - mean("RA", "fedavg", *what)
        assert told(cell) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("arm", ["pooled", "fedavg", "local"])
def test_the_verdicts_of_the_differences_are_told_in_words(written, page, arm):
    [chapter] = re.findall(r"## Which method finds most\?\n(.*?)\n\*\*", (written / TABLES).read_text(), re.DOTALL)
    sentences = dict(re.findall(r"^- (.*?): (.*)\.$", chapter, re.MULTILINE))
    for column in ("Image AUROC", "Pixel AUPRC", "Image AUROC, plain residual", "Image AUROC, paper's scoring"):
        expected, found = set(), set()
        for row, name, cell in columns(page, f"{arm}: RA minus the method, {MEAN}"):
            if name == column and told(cell) is not None:
                expected.add((re.search(r"[▲▼=≡?] (.*)$", cell)[1], row.replace(":", "")))
        for part in sentences[f"{column}, RA, {arm}"].replace(" (classical)", "").split("; "):
            verdict, names = re.fullmatch(r"(.*?) (?:than|to|as|against) (.*)", part).groups()
            found |= {(verdict.lower(), name) for name in re.split(", | and ", names)}
        assert found == expected


@pytest.mark.usefixtures("undrawn")
def test_rounds_of_its_own_are_held_against_the_pooled_model_of_the_same_settings(study, tmp_path, mean):
    ra = study.config.methods["RA"]
    methods = {**study.config.methods, "VAE": ra.model_copy(update={"rounds": 77, "keep_optimizer": True})}
    left = [result for result in study.results if result.arm in ("pooled", "fedavg")]
    left = [result for result in left if (result.method, result.arm) != ("VAE", "pooled")]
    often = replace(study, config=study.config.model_copy(update={"methods": methods}), results=left)
    assert [often.pooled_of(name) for name in ("RA", "VAE", "PCA")] == ["RA", "RA", "PCA"]
    write_study(tmp_path, often)
    found = columns(Page((tmp_path / PAGE).read_text()), f"Federated minus pooled, {MEAN}")
    [cell] = [c for row, column, c in found if (row, column) == ("VAE (77 rounds), fedavg", "Image AUROC")]
    expected = mean("VAE", "fedavg", *COLUMNS["Image AUROC"], seeds=[0])
    expected -= mean("RA", "pooled", *COLUMNS["Image AUROC"], seeds=[0])
    assert told(cell) == pytest.approx(expected, abs=6e-4)


def test_every_number_at_sites_without_a_part_is_that_of_its_cell(page, raw, study, number_of):
    for caption in ("Image AUROC at each left-out site", "Image AUROC at held-out sites"):
        for row, place, cell in columns(page, caption):
            if row.startswith("shortcut: "):
                found = study.answers.shortcut(row.removeprefix("shortcut: "), place, "auroc")
                assert told(cell) == (pytest.approx(found.value, abs=6e-4) if found and found.value else None)
                continue
            method, arm = row.split(" (")[0].split(", ")
            sites = TRAINED if place == MEAN else (place,)
            if arm == "other sites' own models":
                values = [
                    number_of(result, place, "auroc").value
                    for result in study.results
                    if (result.method, result.arm) == (method, "local")
                    and result.variant not in (place, "west")
                    and place != MEAN
                ]
            else:
                values = [value for site in sites for value in raw(method, arm, site, "auroc").values()]
            known = [value for value in values if value is not None]
            assert told(cell) == (pytest.approx(statistics.fmean(known), abs=6e-4) if known else None)


def test_a_held_out_site_has_its_own_model_beside_those_of_others(page):
    caption = "Image AUROC at held-out sites"
    assert {place for row, place, cell in columns(page, caption) if row == "RA, local" and told(cell)} == {"west"}


def test_every_method_has_its_own_numbers_at_each_site(page, raw, study):
    for title, metric in (("Image AUROC", "auroc"), ("Detection rate", "detection_rate")):
        for row, place, cell in columns(page, f"fedavg: {title} at each site"):
            if not row.startswith("shortcut: "):
                found = raw(row.split(" (")[0], "fedavg", place, metric).values()
                assert told(cell) == pytest.approx(statistics.fmean(found), abs=6e-4)
    rows = {row for row, _, _ in columns(page, "fedavg: Image AUROC at each site")}
    assert {"RA", "VAE", "PaDiM", "shortcut: brightness"} <= rows


@pytest.mark.usefixtures("undrawn")
def test_a_method_with_a_budget_of_its_own_leads_no_ranking(study, tmp_path):
    longer = {
        name: entry.model_copy(update={"VAE": {"steps": 9000, "batch_size": 5}, "PaDiM": {"rounds": 77}}.get(name, {}))
        for name, entry in study.config.methods.items()
    }
    some = [result for result in study.results if result.arm in ("pooled", "fedavg")]
    write_study(tmp_path, replace(study, config=study.config.model_copy(update={"methods": longer}), results=some))
    page = Page((tmp_path / PAGE).read_text())
    assert {"VAE (9,000 steps, 5 images a step)", "PaDiM (77 rounds)"} <= {
        row for row, _, _ in columns(page, f"fedavg: {MEAN}")
    }
    assert not re.search(r"9,000|77 rounds", page.prose().split("Which method finds most")[0])


def test_a_site_that_can_have_no_model_or_number_says_why(page):
    caption = "Image AUROC at held-out sites"
    assert page.cell(caption, "RA, encoder_only (adapted, 200 steps)", "covid").startswith("not estimable")
    assert page.cell(caption, "RA, fedavg", "covid") == "not estimable"
    assert "parts of the model are each site's own" in page.prose()
    assert told(page.cell("Detection rate at held-out sites", "RA, fedavg", "covid")) > 0


def test_growing_goes_from_the_first_site_alone_to_all(page, study, number_of):
    ((one, two, three),) = (
        [cell for row, _, cell in columns(page, f"Image AUROC by number of sites trained on, {MEAN}") if row == "RA"],
    )
    for cell, variant in ((one, ("local", "north")), (two, ("growing", "2 sites")), (three, ("fedavg", ""))):
        values = [
            number_of(result, site, "auroc").value
            for result in study.results
            if (result.method, result.arm, result.variant) == ("RA", *variant)
            for site in TRAINED
        ]
        assert told(cell) == pytest.approx(statistics.fmean(values), abs=6e-4)


def test_groups_are_those_of_the_cells(page, raw):
    for place, sites in (("at north", ["north"]), (f", {MEAN} that have it", ["north", "south"])):
        for row, group, cell in columns(page, f"Image AUROC by group {place}".replace(" ,", ",")):
            method, arm = row.split(", ")
            values = [statistics.fmean(raw(method, arm, site, "auroc", None, group).values()) for site in sites]
            assert told(cell) == pytest.approx(statistics.fmean(values), abs=6e-4)
    assert "Image AUROC by group at east" not in page.tables


def test_a_mean_over_sites_with_a_group_needs_all_of_them(study):
    """A method of which one site's own model is not there yet has no mean beside means of all."""
    caption = f"Image AUROC by group, {MEAN} that have it"

    def rows(results):
        told = [t for section in lesions(replace(study, results=results)).sections for t in section.tables]
        (found,) = (one for one in told if one.caption == caption)
        return {row.label for _, block in found.blocks for row in block}

    local = [r for r in study.results if r.arm in ("local", "none")]
    one = next(r for r in local if (r.method, r.variant) == ("VAE", "south"))
    assert "VAE, local" in rows(local)
    assert "VAE, local" not in rows([r for r in local if r is not one])


def test_the_spread_over_seeds_is_told(page, mean):
    caption = f"Image AUROC by seed, {MEAN}"
    by_seed = [mean("RA", "fedavg", "auroc", seeds=[seed]) for seed in (0, 1)]
    assert [told(page.cell(caption, "RA, fedavg", f"seed {seed}")) for seed in (0, 1)] == pytest.approx(
        by_seed, abs=6e-4
    )
    spread = told(page.cell(caption, "RA, fedavg", "standard deviation"))
    assert spread == pytest.approx(statistics.stdev(by_seed), rel=0.05)
    assert "VAE, fedavg" not in [row[0] for row in page.tables[caption]]


def test_the_markdown_has_the_same_tables(written, page):
    text = (written / TABLES).read_text()
    found = {}
    for caption, block in re.findall(r"^\*\*(.*)\*\*\n\n((?:\|.*\n)+)", text, re.M):
        rows = [line.strip("| \n").split(" | ") for line in block.splitlines()]
        found[caption.replace("\\", "")] = [rows[0], *rows[2:]]
    assert len(found) > 20
    doubts = [
        re.sub(r"\\|&amp;", "", line[2:])
        for line in text.split("What limits these numbers")[1].split("## ")[0].split("\n")
        if line
    ]
    for doubt in doubts:
        assert doubt in page.prose()
    assert len(doubts) > 3
    for caption, (_, *rows) in found.items():
        for ours, theirs in zip(rows, page.tables[caption][1:], strict=True):
            plain = [re.sub(r" \[[\d, ]+\]|\*\*|\\", "", cell).replace("<br>", " ") for cell in ours]
            assert plain == theirs


def test_the_csv_has_every_number_of_every_cell(written, study):
    with (written / RESULTS).open(newline="") as file:
        rows = [*csv.DictReader(file)]
    kept = [row for row in rows if row["metric"] not in ALARMS]
    assert len(kept) == sum(len(result.numbers) for result in study.results)
    result = next(result for result in study.results if result.key == "RA.leave_one_out.without_south.seed1")
    ours = [row for row in rows if (row["method"], row["variant"], row["seed"]) == ("RA", "without south", "1")]
    assert [row["arm"] for row in ours] == ["leave_one_out"] * len(result.numbers)
    assert [row["value"] for row in ours] == [
        "" if number.value is None else f"{number.value:.6g}" for number in result.numbers
    ]
    assert {row["train_sites"] for row in ours} == {"north+east"}


def test_equal_cells_give_equal_bytes(written, study, tmp_path):
    write_study(tmp_path, study)
    for name in (PAGE, TABLES, RESULTS):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


def test_a_page_made_without_pictures_says_where_they_are(page):
    assert "There are no pictures here: they are of patients" in page.prose()


def test_the_page_needs_nothing_and_holds_no_image(text, page):
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "img", "base"}
        assert attributes.get("href", "#").startswith("#")
    assert "/secret/place" not in text
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert all(b <= a + 1 for a, b in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in page.tags if tag == "a"} <= set(ids)
    assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg")


@pytest.mark.usefixtures("undrawn")
def test_what_is_missing_is_said_first(with_results, study, tmp_path):
    some = [result for result in study.results if result.arm in ("pooled", "fedavg")][:-3]
    some[1] = some[1].model_copy(update={"degraded": ("east: no answer in round 2",)})
    write_study(tmp_path, with_results(some))
    found = Page((tmp_path / PAGE).read_text())
    words = found.prose()
    assert f"Not finished: {len(some)} of {len(study.cells)} cells" in words
    assert words.index("Degraded") < words.index("Summary")
    assert "east: no answer in round 2" in words
    assert "Not answered: needs a method with finished cells of fedavg and of every site's own model" in words


@pytest.mark.usefixtures("undrawn")
def test_a_study_without_a_finished_cell_has_a_page(with_results, tmp_path):
    write_study(tmp_path, with_results([]))
    assert "No cell is finished yet" in Page((tmp_path / PAGE).read_text()).prose()


def test_twins_of_sick_images_are_told_by_site_in_lesions_and_elsewhere(page, raw):
    for title, metric in (
        ("SSIM in lesions", "ssim_lesion"),
        ("SSIM elsewhere in sick images", "ssim_rest"),
        ("Squared error in lesions", "squared_error_lesion"),
        ("LPIPS elsewhere in sick images", "lpips_rest"),
    ):
        rows = {row[0]: row[1:] for row in page.tables[title]}
        found = statistics.fmean(raw("VAE", "pooled", "north", metric, "reconstruction").values())
        assert rows["VAE, pooled"][0].startswith(f"{found:.3f}")
        assert not [label for label in rows if label.startswith("PaDiM")]
    assert "LPIPS in lesions" not in page.tables  # cells of before have none


def test_what_can_not_be_trained_is_told_with_its_reason(page):
    refused = page.tables["Combinations that are not possible"]
    assert ["PatchCore", "fedavg"] in [row[:2] for row in refused]


def harm(study, title="Image AUROC"):
    """What is told of it."""
    return next(point.prose for point in helped(study) if point.about == f"{title}, all methods")


def test_harm_is_claimed_only_where_the_interval_lies_below_zero(study):
    for title, metric in (("Image AUROC", "auroc"), ("Pixel AUPRC", "pixel_auprc")):
        for site in TRAINED:
            for method in study.methods:
                found = study.answers.versus((method, "fedavg"), (method, "local"), metric, (site,))
                if found is not None and method == study.subject:
                    [ours] = re.findall(r"with RA: (.*?)\.", harm(study, title))
                    of_fedavg = "".join(part for part in ours.split("; ") if part.endswith("(fedavg)"))
                    assert (site in of_fedavg) == (found.ci_high < 0)
        for method in study.methods:
            versus = partial(study.answers.versus, b=(method, "local"), metric=metric)
            found = [versus((method, arm), sites=(site,)) for arm in FEDERATED for site in TRAINED]
            count = sum(one is not None and one.ci_high < 0 for one in found)
            if method != study.subject:
                assert (f" {count} with {method}" in harm(study, title)) == (count > 0)


@pytest.fixture
def moved(study, with_results):
    """The study where federated numbers are the local ones, and RA's AUROC is moved at one site."""
    own = {(result.method, result.seed, result.variant): result for result in study.results if result.arm == "local"}

    def make(site, by, **changes):
        def moved(result):
            if result.arm not in FEDERATED or (result.method, result.seed, site) not in own:
                return result
            by_site = {name: own[result.method, result.seed, name] for name in TRAINED}
            shift = by if result.method == "RA" else 0
            numbers = tuple(
                shifted(number, shift if name == site else 0)
                for name, source in by_site.items()
                for number in source.numbers
                if number.test_site == name
            )
            return result.model_copy(update={"numbers": numbers, "chosen": by_site[site].chosen})

        return with_results([*map(moved, study.results)], **changes)

    return make


def shifted(number, by):
    """The same with all bootstrap values moved, give or take a little."""
    if number.metric != "auroc" or number.anomaly != "all" or not by:
        return number
    e = number.estimate
    drawn = e.resampled + by * np.random.default_rng(0).uniform(0.5, 1.5, len(e.resampled))
    found = Estimate.of(e.value + by, drawn, 0.95, (e.n_healthy, e.n_anomalous))
    return Number.of(ResultRow("", "", number.scoring, "", "", number.test_site, "all", "auroc", found, 0))


def test_harm_within_the_margin_is_harm(moved):
    study = moved("south", -0.008)
    found = study.answers.versus(("RA", "fedavg"), ("RA", "local"), "auroc", ("south",))
    assert Verdict.of(found) is Verdict.equivalent
    assert "Significantly harmed with RA: south (fedavg); south (fedprox)" in harm(study)
    assert "too few" not in harm(study).lower()


def test_of_sites_with_few_patients_it_can_not_be_told_whether_they_are_harmed(study, moved):
    few = replace(study.sites, patients={**study.sites.patients, "south": (4, 58)})
    told = harm(moved("south", -0.2, sites=few))
    assert told.endswith(
        "Too few patients to tell at south. No other site is significantly harmed, by any method in any federated way "
        "to train."
    )
    assert "No site" not in told
    all_few = replace(study.sites, patients=dict.fromkeys(study.sites.patients, (4, 4)))
    assert harm(moved("south", -0.2, sites=all_few)).endswith("Too few patients to tell at north, south and east.")
    assert harm(moved("south", 0.0)).endswith(
        "No site is significantly harmed, by any method in any federated way to train."
    )


def test_differences_have_their_sign_and_verdict():
    found = difference(Paired(-0.0123, -0.03, 0.0, 40, 40, patients=40, lowest=0.5))
    assert found.text == "−0.012 (−0.030 to 0.000)"
    assert found.extra.endswith(Verdict.inconclusive.value)
    assert difference(Paired(None, None, None, 0, 0, "why")).note == "why"
    assert difference(None) is None


def test_every_scoring_in_use_is_told_with_what_chose_it(page, study):
    seen = Counter()
    for row, site, cell in columns(page, "Scoring chosen, and its AUROC on synthetic anomalies"):
        method, arm = row.split(", ")
        models = [one for one in study.answers.models(method, arm, site) if site in one.chosen]
        if not models:
            assert cell == "–"
            continue
        assert told(cell) == pytest.approx(statistics.fmean(one.synthetic[site] for one in models), abs=6e-4)
        assert cell.endswith(models[0].chosen[site])
        seen[arm] += 1
    assert seen["pooled"] == 5 * 6  # sites and methods
    assert {"fedavg", "local", "leave_one_out", "encoder_only"} < {*seen}


def test_ways_to_train_that_are_scored_differently_are_a_doubt(study):
    def otherwise(result):
        changed = (result.method, result.arm, result.seed) == ("RA", "fedavg", 1)
        return result.model_copy(update={"chosen": {**result.chosen, "south": "paper"}}) if changed else result

    assert "is scored differently" not in " ".join(doubts(study))
    found = " ".join(doubts(replace(study, results=[*map(otherwise, study.results)])))
    assert "RA is scored differently from one way to train to another at south (pooled, local, fedprox" in found
    assert "by residual_top; fedavg by paper or residual_top): differences between ways" in found


def test_what_federation_costs_at_a_held_out_site_is_that_of_its_cells(page, mean):
    found = [*columns(page, "Pixel AUPRC at held-out sites: federated minus pooled")]
    assert {site for _, site, _ in found} == {"west", "covid"}
    for row, site, cell in found:
        method, arm = re.sub(r" \(adapted.*?\)", "", row.removesuffix(" minus pooled")).split(", ")
        ours, theirs = (mean(method, way, "pixel_auprc", sites=(site,)) for way in (arm, "pooled"))
        assert told(cell) == (None if ours is None else pytest.approx(ours - theirs, abs=6e-4))


def test_detection_at_held_out_sites_is_told_by_a_fixed_scoring_too(page, mean):
    for row, site, cell in columns(page, "Detection rate, plain residual at held-out sites"):
        method, arm = re.sub(r" \(adapted.*?\)", "", row).split(", ")
        if arm != "other sites' own models":
            expected = mean(method, arm, "detection_rate", "plain", sites=(site,))
            assert told(cell) == (None if expected is None else pytest.approx(expected, abs=6e-4))


def test_every_number_that_is_lost_is_listed_with_what_limits_the_study(page, study):
    told = " ".join(doubt for doubt in doubts(study) if "is worse on average" in doubt)
    lost = Counter()
    for arm in ("pooled", "fedavg", "local"):
        for method, column, cell in columns(page, f"{arm}: RA minus the method, {MEAN}"):
            if "▼ worse" in cell:
                value, interval = re.match(r"(\S+) \((.*?)\)", cell).groups()
                assert f"{column}: {value}, {interval}" in told, (arm, method, cell)
                lost[arm] += 1
    assert lost
    assert told.count(": ") == sum(lost.values())


def test_boxes_are_answered_for_as_masks_are(study):
    """The same numbers by another name: the same answers."""

    def boxed(result):
        named = {"pixel_auprc": "box_auroc"}
        numbers = [n.model_copy(update={"metric": named.get(n.metric, n.metric)}) for n in result.numbers]
        return result.model_copy(update={"numbers": tuple(numbers)})

    by_boxes = replace(study, results=[*map(boxed, study.results)])
    expected = [point.prose.replace("Pixel AUPRC", "Box AUROC") for point in helped(study)]
    assert [point.prose for point in helped(by_boxes)] == expected
    assert any(prose.startswith("Box AUROC, RA") for prose in expected)
    expected = [
        doubt.replace("finding the place of a lesion", "marking what boxes are around") for doubt in doubts(study)
    ]
    assert doubts(by_boxes) == expected
    cards = headline(by_boxes, {"federation": [], "pooled": []})
    assert cards[1].question == "Are the boxes marked? (Box AUROC)"


def test_few_patients_seeds_and_borrowed_images_are_doubts(study):
    found = " ".join(doubts(study))
    assert "east (20 healthy, 12 sick)" in found
    assert "have one seed" in found
    assert "covid has no healthy images of its own" in found
    assert "said of them too easily" not in found
    few = replace(study.sites, patients={**study.sites.patients, "south": (4, 58)})
    assert "few patients in them at south: " in " ".join(doubts(replace(study, sites=few)))


@pytest.mark.usefixtures("undrawn")
def test_times_of_cells_that_were_stopped_are_told_as_incomplete(study, written, tmp_path):
    assert "stopped on the way" not in (written / TABLES).read_text()
    cells = [result.model_copy(update={"resumed": place < 2}) for place, result in enumerate(study.results[:4])]
    write_study(tmp_path, replace(study, results=cells))
    for name in (TABLES, PAGE):
        assert "2 cells stopped on the way: of these, the last start alone" in (tmp_path / name).read_text()


def test_names_are_shown_and_not_obeyed(study, tmp_path):
    evil = "<script>alert(1)</script>|*x*"
    config = study.config.model_copy(update={"title": evil})
    cells = [result.model_copy(update={"machine": {evil: evil}}) for result in study.results[:3]]
    write_study(tmp_path, replace(study, config=config, results=cells))
    assert "<script" not in (tmp_path / PAGE).read_text()
    assert "<script" not in (tmp_path / TABLES).read_text()


def test_all_questions_are_answered_in_order(page):
    assert "Not answered" not in page.prose()
    anchors = [attributes["id"] for tag, attributes in page.tags if tag == "h2"]
    assert anchors == [
        "summary",
        "methods",
        "federation",
        "pooled",
        "averaging",
        "outside",
        "growing",
        "lesions",
        "alarms",
        "seeds",
        "pictures",
        "sites",
        "reading",
        "run",
    ]
