from dataclasses import replace

import pytest

from ra_core.metrics import Estimate
from simulation.report.cells import Verdict
from simulation.report.doubts import doubts
from simulation.report.findings import Findings
from simulation.report.words import comparisons, headline, introduction


def with_numbers(data, numbers):
    """The rows of pixel AUPRC and image AUROC changed: (method, site) -> (low, value, high) or a reason."""

    def changed(row):
        given = numbers.get((row.method, row.test_site)) if row.anomaly == "all" else None
        if given is None:
            return row
        if isinstance(given, str):
            return replace(row, estimate=Estimate(None, None, None, 0, 5, given))
        low, value, high = given
        return replace(row, estimate=Estimate(value, low, high, 5, 5))

    return Findings(replace(data, rows=[changed(row) for row in data.rows]))


def test_the_introduction_tells_whom_and_how_many(experiment):
    told = introduction(Findings(experiment))
    assert "images of 2 sites for 4,000 steps; the weights of round 12 of 20" in told
    assert "320 healthy training images" in told
    assert "pooled, local: mr_t1 and local: mr_t2" in told
    sites = "160 healthy and 193 sick images of 4 sites"
    assert f"{sites}, of which mr_pd and covid had no part in federated or pooled training" in told


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [
        ((0.1, 0.2, 0.3), Verdict.BETTER),
        ((0.3, 0.45, 0.5), Verdict.ALIKE),
        ((0.7, 0.8, 0.9), Verdict.WORSE),
        ("no images", Verdict.UNKNOWN),
    ],
)
def test_words_follow_from_intervals(small, theirs, verdict):
    findings = with_numbers(small, {("ra", "mr_t1"): (0.4, 0.5, 0.6), ("pca", "mr_t1"): theirs})
    found = next(c for c in comparisons(findings, "pixel_auprc") if c.rival == "PCA")
    assert found.verdict is verdict
    assert found.text == f"Site by site: {verdict.value} at mr_t1."
    lost = [doubt for doubt in doubts(findings) if "PCA is better" in doubt]
    assert len(lost) == (2 if verdict is Verdict.WORSE else 0)  # in localisation and in detection


def test_a_comparison_gives_the_average_first_and_then_each_site(experiment):
    found = {c.rival: c.text for c in comparisons(Findings(experiment), "auroc")}
    assert set(found) == {
        "nearest neighbour", "PCA", "the strongest shortcut", "the local model of the same site", "the pooled model"
    }  # fmt: skip
    assert " on average of trained sites, against 0." in found["PCA"]
    assert "(sharpness, reversed)" in found["the strongest shortcut"]
    assert "not comparable at covid" in found["PCA"]
    assert "mr_pd" not in found["the local model of the same site"]


def test_where_nothing_can_be_measured_it_says_so(small):
    findings = with_numbers(small, {("ra", "mr_t1"): "no healthy test images"})
    assert headline(findings, "auroc") == "RA, federated: not estimable."
    assert "Telling sick images from healthy ones can't be measured at mr_t1 (no healthy test images)." in doubts(
        findings
    )


def test_doubts_name_chance_the_seed_and_who_lent_images(experiment, small):
    told = " ".join(doubts(with_numbers(small, {("ra", "mr_t1"): (0.4, 0.6, 0.7)})))
    assert "not above chance (0.5) by more than its interval at mr_t1" in told
    told = " ".join(doubts(Findings(experiment)))
    assert "one seed (3)" in told
    assert "covid has no healthy images of its own to go by" in told
    assert "Not every site took part in every round" in told
