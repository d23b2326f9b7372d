from dataclasses import replace

import numpy as np
import pytest

from ra_core.metrics import Estimate, image_auroc
from simulation.grid.answers import Answers
from simulation.grid.averages import over_seeds
from simulation.grid.paired import LEAST, MARGIN, Paired, Verdict, difference, widened
from simulation.grid.result import CellResult, Number

SETTINGS = {"bootstrap": 400, "confidence": 0.95, "seed": 0}


def scored(shift, seed, n=40):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], n // 2)
    return rng.normal(size=n) + shift * labels, labels, [f"p{i}" for i in range(n)]


def auroc(scores, labels, patients):
    return image_auroc(scores, labels, patients, **SETTINGS)


def number(site, estimate, metric="auroc", scoring="residual"):
    from ra_core.results import ResultRow

    return Number.of(ResultRow("local", "ra", scoring, "", "a", site, "all", metric, estimate, 0))


def cell(method, arm, variant, seed, numbers, sites=("a", "b")):
    return CellResult(
        key=f"{method}.{arm}.{variant}.{seed}",
        method=method,
        arm=arm,
        variant=variant,
        seed=seed,
        train_sites=sites,
        made_of="",
        config=method,
        chosen={n.test_site: "residual" for n in numbers},
        numbers=tuple(numbers),
        seconds={},
        machine={},
        software={},
    )


def answers(*cells):
    return Answers(cells, ("a", "b"), (), {"a": (40, 40), "b": (12, 9)}, 0.95, 400)


def test_a_paired_difference_is_that_of_recomputed_resamples():
    """Against the definition: both AUROCs computed anew on each draw of patients."""
    one, labels, patients = scored(1.5, 0)
    other = one + np.random.default_rng(1).normal(size=len(one)) * 0.7
    found = difference(auroc(one, labels, patients), auroc(other, labels, patients), 0.95)
    from sklearn.metrics import roc_auc_score

    assert found.value == pytest.approx(roc_auc_score(labels, one) - roc_auc_score(labels, other))
    drawn = np.random.default_rng(5).integers(len(one), size=(500, len(one)))
    both = [
        roc_auc_score(labels[d], one[d]) - roc_auc_score(labels[d], other[d])
        for d in drawn
        if 0 < labels[d].sum() < len(d)
    ]
    assert (found.ci_low, found.ci_high) == pytest.approx(np.quantile(both, [0.025, 0.975]), abs=0.03)


def test_a_model_does_not_differ_from_itself_and_pairing_narrows_the_interval():
    scores, labels, patients = scored(1.0, 2)
    own = auroc(scores, labels, patients)
    same = difference(own, own, 0.95)
    assert (same.value, same.ci_low, same.ci_high) == (0, 0, 0)
    assert Verdict.of(Paired.by(same, 40, 0.5)) is Verdict.same
    assert Verdict.of(Paired.by(same, 29, 0.5)) is Verdict.inconclusive  # no mistake on a few patients
    near = auroc(scores + 0.1 * np.random.default_rng(0).normal(size=len(scores)), labels, patients)
    paired = difference(near, own, 0.95)
    assert paired.ci_high - paired.ci_low < 0.5 * (own.ci_high - own.ci_low)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.03, 0.2, Verdict.better),
        (-0.2, -0.001, Verdict.worse),
        (-0.019, 0.019, Verdict.equivalent),
        (0.001, 0.019, Verdict.equivalent),
        (-0.0004, 0.0004, Verdict.same),
        (-0.0004, 0.0006, Verdict.equivalent),
        (0.0006, 0.0007, Verdict.equivalent),
        (-0.1, 0.01, Verdict.inconclusive),
        (None, None, Verdict.inconclusive),
    ],
)
def test_verdicts(low, high, verdict):
    assert Verdict.of(Paired(0.0, low, high, 99, 99, patients=30, lowest=0.1)) is verdict
    if verdict in (Verdict.equivalent, Verdict.same):
        assert Verdict.of(Paired(0.0, low, high, 99, 99, patients=29, lowest=0.1)) is not verdict
    if verdict is Verdict.equivalent:
        assert Verdict.of(Paired(0.0, low, high, 99, 99, patients=30, lowest=0.099)) is not verdict
    assert Verdict.of(Paired(0.0, low, high, 99, 99, patients=9, lowest=0.1)) is Verdict.inconclusive


def test_rounding_is_neither_worse_nor_harm_and_small_numbers_are_not_soon_the_same():
    rounded = {"value": -1e-6, "ci_low": -2e-6, "ci_high": -1e-6, "n_healthy": 99, "n_anomalous": 99}
    for patients, verdict in ((30, Verdict.same), (26, Verdict.inconclusive)):
        found = Paired(**rounded, patients=patients, lowest=0.013)
        assert Verdict.of(found) is verdict
        assert not found.is_harm
    small = Paired(-0.0003, -0.0004, -0.0002, 99, 99, patients=60, lowest=0.0019)
    assert Verdict.of(small) is Verdict.worse
    assert small.is_harm


def test_bootstrap_values_survive_a_file():
    estimate = auroc(*scored(1.0, 3))
    again = Number.model_validate_json(number("a", estimate).model_dump_json()).estimate
    np.testing.assert_allclose(again.resampled, estimate.resampled, atol=1e-5)
    undefined = Estimate.of(0.5, np.array([0.0, np.nan, 1.0]), 0.95, (1, 1))
    np.testing.assert_allclose(number("a", undefined).estimate.resampled, [0.0, np.nan, 1.0], atol=0)


def test_local_is_each_sites_own_model_and_seeds_are_averaged():
    estimates = [auroc(*scored(shift, 4)) for shift in (0.2, 0.8, 1.4)]
    found = answers(
        cell("ra", "local", "a", 0, [number("a", estimates[0]), number("b", estimates[1])], ("a",)),
        cell("ra", "local", "a", 1, [number("a", estimates[2]), number("b", estimates[1])], ("a",)),
    )
    mean = found.at("ra", "local", "a", "auroc")
    assert mean.value == pytest.approx((estimates[0].value + estimates[2].value) / 2, abs=1e-5)
    assert found.at("ra", "local", "b", "auroc") is None
    assert found.mean("ra", "local", "auroc", ("a", "b")) is None
    assert found.at("ra", "local", "a", "dice") is None


def test_the_mean_difference_over_sites_is_the_difference_of_means():
    cells, means = [], {}
    for arm, shift in (("pooled", 1.0), ("fedavg", 1.3)):
        estimates = [auroc(*scored(shift, seed)) for seed in (5, 6)]
        means[arm] = np.mean([estimate.value for estimate in estimates])
        cells.append(cell("ra", arm, "", 0, [number(s, e) for s, e in zip("ab", estimates, strict=True)]))
    found = answers(*cells).versus(("ra", "fedavg"), ("ra", "pooled"), "auroc", ("a", "b"))
    assert found.value == pytest.approx(means["fedavg"] - means["pooled"], abs=1e-5)
    assert found.ci_low < found.value < found.ci_high
    assert answers(*cells).methods == ["ra"]
    assert answers(*cells).arms == ["pooled", "fedavg"]


def test_differences_know_the_patients_of_the_kinds_that_they_are_of():
    both = [number(s, auroc(*scored(1.0, seed, n=80))) for s, seed in (("a", 5), ("b", 6))]
    found = answers(cell("ra", "pooled", "", 0, both), cell("ra", "fedavg", "", 0, both))
    models = ("ra", "fedavg"), ("ra", "pooled")
    assert found.versus(*models, "auroc", ("a",)).patients == 40
    assert found.versus(*models, "auroc", ("b",)).patients == 9
    assert found.versus(*models, "auroc", ("a", "b")).patients == 49


def test_a_number_of_fewer_images_than_patients_is_of_so_many_patients():
    """As pixel metrics are, of the images with masks: the other sick patients tell nothing about them."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.42, 300)
    few, many = (Estimate.of(0.41, base, 0.95, (60, sick)) for sick in (26, 86))
    shifted = {one: Estimate.of(0.41, base + 0.001, 0.95, (60, one.n_anomalous)) for one in (few, many)}
    for one, patients in ((few, 26), (many, 40)):
        cells = [
            cell("ra", arm, "", 0, [number("a", found, "pixel_auprc")])
            for arm, found in (("pooled", one), ("fedavg", shifted[one]))
        ]
        found = answers(*cells).versus(("ra", "fedavg"), ("ra", "pooled"), "pixel_auprc", ("a",))
        assert found.patients == patients
        assert (Verdict.of(found) is Verdict.equivalent) == (patients >= 30)


@pytest.mark.parametrize(
    ("bases", "verdict"),
    [
        ((0.3, 0.3), Verdict.equivalent),
        ((0.02, 0.02), Verdict.inconclusive),
        ((0.106, 0.096), Verdict.worse),
        ((0.096, 0.106), Verdict.better),
    ],
)
def test_numbers_near_zero_are_never_equivalent(bases, verdict):
    """Pixel AUPRC at chance is that of any method: within the margin, and no sign of equality."""
    drawn = np.random.default_rng(0).uniform(-0.004, 0.004, (2, 300))
    cells = [
        cell("ra", arm, "", 0, [number("a", Estimate.of(base, base + values, 0.95, (60, 60)), "pixel_auprc")])
        for arm, base, values in zip(("pooled", "fedavg"), bases, drawn, strict=True)
    ]
    found = answers(*cells).versus(("ra", "fedavg"), ("ra", "pooled"), "pixel_auprc", ("a",))
    assert -MARGIN < found.ci_low < found.ci_high < MARGIN
    assert found.lowest < min(bases)
    assert (found.lowest < LEAST) == (verdict is not Verdict.equivalent)
    assert Verdict.of(found) is verdict


def test_a_site_without_images_of_a_kind_is_left_out_of_a_mean():
    some = auroc(*scored(1.0, 7, n=80))
    nothing = Estimate(None, None, None, 0, 3, "not estimable: no healthy test images")
    found = answers(
        *(cell("ra", arm, "", 0, [number("a", some), number("b", nothing)]) for arm in ("pooled", "fedavg"))
    )
    mean = found.mean("ra", "pooled", "auroc", ("a", "b"))
    assert mean.value == pytest.approx(some.value, abs=1e-5)
    assert (mean.n_healthy, mean.n_anomalous) == (some.n_healthy, some.n_anomalous)
    assert found.versus(("ra", "fedavg"), ("ra", "pooled"), "auroc", ("a", "b")).patients == 40
    broken = Estimate(None, None, None, 5, 5, "not estimable for another reason")
    other = answers(cell("ra", "pooled", "", 0, [number("a", some), number("b", broken)]))
    assert other.mean("ra", "pooled", "auroc", ("a", "b")).value is None


def test_what_is_not_estimable_stays_so():
    nothing = Estimate(None, None, None, 0, 3, "not estimable: no healthy test images")
    some = auroc(*scored(1.0, 7))
    assert difference(some, nothing, 0.95).note == nothing.note
    assert over_seeds([some, nothing], 0.95).value is None


def test_without_bootstrap_values_the_ends_of_intervals_are_averaged():
    one, other = Estimate(0.5, 0.4, 0.6, 3, 4), Estimate(0.7, 0.66, 0.8, 3, 4)
    found = over_seeds([one, other], 0.95)
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx((0.6, 0.53, 0.7))
    assert "averaged over seeds" in found.note
    assert over_seeds([one], 0.95) is one


def test_a_difference_is_of_the_seeds_that_both_have():
    estimates = [auroc(*scored(shift, 4)) for shift in (0.2, 0.8, 1.4)]
    found = answers(
        cell("ra", "pooled", "", 0, [number("a", estimates[0])]),
        cell("ra", "pooled", "", 1, [number("a", estimates[2])]),
        cell("vae", "pooled", "", 1, [number("a", estimates[1])]),
    ).versus(("ra", "pooled"), ("vae", "pooled"), "auroc", ("a",))
    assert found.value == pytest.approx(estimates[2].value - estimates[1].value, abs=1e-5)


def test_each_side_of_a_difference_may_have_its_scoring():
    estimates = [auroc(*scored(shift, 4)) for shift in (0.2, 0.8)]
    both = [number("a", estimates[0]), number("a", estimates[1], scoring="paper")]
    one = cell("ra", "pooled", "", 0, both).model_copy(update={"chosen": {"a": "residual"}})
    ra = ("ra", "pooled")
    found = answers(one).versus(ra, ra, "auroc", ("a",), ("paper", None))
    assert found.value == pytest.approx(estimates[1].value - estimates[0].value, abs=1e-5)


def test_elsewhere_is_the_mean_of_other_sites_own_models():
    estimates = [auroc(*scored(shift, 4)) for shift in (0.2, 0.8, 1.4)]
    cells = [
        cell("ra", "local", site, 0, [number("a", estimate)], (site,))
        for site, estimate in zip("abc", estimates, strict=True)
    ]
    found = answers(*cells)
    expected = (estimates[1].value + estimates[2].value) / 2
    assert found.elsewhere("ra", "a", "auroc").value == pytest.approx(expected, abs=1e-5)
    assert found.elsewhere("ra", "b", "auroc") is None
    assert found.elsewhere("vae", "a", "auroc") is None


def test_growing_is_of_the_first_sites_and_of_seeds_that_all_numbers_of_sites_have():
    sites = ("a", "b", "c")
    estimates = {n: auroc(*scored(0.5 * n, 4)) for n in range(6)}
    cells = [
        cell("ra", "local", "a", 0, [number("a", estimates[0])], sites[:1]),
        cell("ra", "local", "b", 0, [number("a", estimates[5])], sites[1:2]),
        cell("ra", "growing", "2 sites", 0, [number("a", estimates[1])], sites[:2]),
        cell("ra", "fedavg", "", 0, [number("a", estimates[2])], sites),
        cell("ra", "fedavg", "", 1, [number("a", estimates[3])], sites),
    ]
    found = Answers(cells, sites, (), dict.fromkeys(sites, (40, 40)), 0.95, 400)
    by_count = found.growing("ra", "auroc", ("a",))
    assert {count: one.value for count, one in by_count.items()} == pytest.approx(
        {count: estimates[count - 1].value for count in (1, 2, 3)}, abs=1e-5
    )
    assert found.growing("vae", "auroc", ("a",)) == {}


def test_what_a_held_out_site_has_for_itself_counts_there_alone():
    drawn = [number(site, auroc(*scored(1.0, seed))) for seed, site in enumerate(("a", "b", "c"))]
    cells = [cell("ra", "local", site, seed, drawn, (site,)) for site in ("a", "b") for seed in (0, 1)]
    before, after = (
        Answers(kept, ("a", "b"), ("c",), {}, 0.95, 400)
        for kept in (cells, [*cells, cell("ra", "local", "c", 0, drawn, ("c",))])
    )
    assert after.seeds("ra", "local") == [0, 1]
    for site in ("a", "b", "c"):
        assert after.elsewhere("ra", site, "auroc") == before.elsewhere("ra", site, "auroc")
    assert before.at("ra", "local", "c", "auroc") is None
    assert after.at("ra", "local", "c", "auroc").value == pytest.approx(drawn[2].value)


def test_spread_is_the_standard_deviation_over_seeds():
    estimates = [auroc(*scored(shift, 4)) for shift in (0.2, 0.8)]
    found = answers(*(cell("ra", "pooled", "", seed, [number("a", e)]) for seed, e in enumerate(estimates)))
    values = [estimate.value for estimate in estimates]
    assert found.spread("ra", "pooled", "auroc", ("a",)).value == pytest.approx(np.std(values, ddof=1), abs=1e-5)
    assert (
        answers(cell("ra", "pooled", "", 0, [number("a", estimates[0])])).spread("ra", "pooled", "auroc", "a") is None
    )


def test_a_shortcut_is_read_in_its_better_direction_at_each_site():
    down, up = auroc(*scored(-1.0, 4)), auroc(*scored(0.5, 5))
    shortcut = cell("shortcut", "none", "", 0, [number(s, e, scoring="x") for s, e in (("a", down), ("b", up))], ())
    model = cell("ra", "pooled", "", 0, [number("a", up), number("b", up)])
    found = answers(shortcut.model_copy(update={"chosen": {}}), model)
    assert found.shortcuts == ["x"]
    assert found.mean_shortcut("x", "auroc", ("a",)).value == pytest.approx(1 - down.value, abs=1e-5)
    assert found.mean_shortcut("x", "auroc", ("a",)).ci_low == pytest.approx(1 - down.ci_high, abs=1e-5)
    mean = (1 - down.value + up.value) / 2
    assert found.mean_shortcut("x", "auroc", ("a", "b")).value == pytest.approx(mean, abs=1e-5)
    lead = found.versus_shortcut(("ra", "pooled"), "x", "auroc", ("b",))
    assert (lead.value, lead.ci_low, lead.ci_high) == pytest.approx((0, 0, 0), abs=1e-5)


def test_a_site_without_a_model_has_its_reason_for_every_metric():
    why = Estimate(None, None, None, 0, 0, "not estimable: took no part")
    one = cell("ra", "encoder_only", "", 0, [number("a", why, scoring="none")]).model_copy(update={"chosen": {}})
    for metric in ("auroc", "dice"):
        assert answers(one).at("ra", "encoder_only", "a", metric).note == why.note


def test_sites_whose_bootstrap_values_were_not_kept_have_a_mean_without_interval():
    some = [number(site, Estimate(value, 0.1, 0.9, 3, 4)) for site, value in (("a", 0.4), ("b", 0.6))]
    found = answers(cell("ra", "pooled", "", 0, some)).mean("ra", "pooled", "auroc", ("a", "b"))
    assert (found.value, found.ci_low, found.n_healthy) == (pytest.approx(0.5), None, 6)
    assert "not kept" in found.note


def test_a_mean_that_can_not_be_had_for_one_reason_tells_it():
    why = Estimate(None, None, None, 2, 3, "not estimable: no lesion is known")
    found = answers(cell("ra", "pooled", "", 0, [number("a", why), number("b", why)]))
    mean = found.mean("ra", "pooled", "auroc", ("a", "b"))
    assert (mean.value, mean.note, mean.n_healthy, mean.n_anomalous) == (None, why.note, 4, 6)


def test_widened_differences_of_few_patients_are_less_often_too_sure():
    """Of means over four small sites where nothing differs, how many intervals leave out 0."""
    rng, sizes, wrong = np.random.default_rng(0), (4, 10, 4, 6), {False: 0, True: 0}
    for _ in range(600):
        sites = []
        for n in sizes:
            values = rng.normal(size=n)
            drawn = rng.multinomial(n, np.full(n, 1 / n), size=300) @ values / n
            sites.append((Estimate.of(values.mean(), drawn, 0.95, (n, n)), n))
        for wide in wrong:
            means = [widened(one, n, 0.95).resampled if wide else one.resampled for one, n in sites]
            low, high = np.quantile(np.mean(means, axis=0), [0.025, 0.975])
            wrong[wide] += low > 0 or high < 0
    assert wrong[False] / 600 > 0.1
    assert 0.06 < wrong[True] / 600 < 0.1  # `doubts` says 8 of 100; 5 are promised


def test_a_sites_difference_is_wider_than_its_bootstrap_values_by_its_patients():
    drawn = np.random.default_rng(0).normal(0, 0.01, (2, 400))
    cells = [
        cell("ra", arm, "", 0, [number("b", Estimate.of(0.5, 0.5 + values, 0.95, (12, 30)))])
        for arm, values in zip(("pooled", "fedavg"), drawn, strict=True)
    ]
    found = answers(*cells).versus(("ra", "fedavg"), ("ra", "pooled"), "auroc", ("b",))
    low, high = np.quantile(drawn[1] - drawn[0], [0.025, 0.975])
    assert found.patients == 9
    assert (found.ci_low, found.ci_high) == pytest.approx(np.array([low, high]) * (9 / 8) ** 0.5, abs=1e-4)


def test_notes_that_all_have_survive_averages_and_differences():
    """As that healthy images are another site's: every row has to say so, of one seed or of three."""
    borrowed = "healthy reference images of nih"
    one, other = (Estimate.of(v, np.full(9, v), 0.95, (0, 36)) for v in (0.4, 0.5))
    one, other = replace(one, note=f"{borrowed}; of one alone"), replace(other, note=borrowed)
    assert over_seeds([one, other], 0.95).note == borrowed
    assert difference(one, other, 0.95).note == borrowed
    ends = over_seeds([replace(found, resampled=np.zeros(0)) for found in (one, other)], 0.95).note
    assert ends == f"the ends of the interval are averaged over seeds; {borrowed}"
    plain = replace(other, note="")
    assert over_seeds([one, plain], 0.95).note == difference(plain, other, 0.95).note == ""
