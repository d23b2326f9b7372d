import numpy as np
import pytest

from ra_core.metrics import Estimate, image_auroc
from simulation.grid.answers import Answers, Verdict, difference, over_seeds
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
        model_hash={},
        selected="",
        chosen={n.test_site: "residual" for n in numbers},
        synthetic={},
        adapted=0,
        degraded=(),
        numbers=tuple(numbers),
        seconds={},
        machine={},
        software={},
    )


def answers(*cells):
    return Answers(cells, ("a", "b"), (), 0.95, 400)


def test_a_paired_difference_is_that_of_recomputed_resamples():
    """Against the definition: both AUROCs computed anew on each draw of patients."""
    one, labels, patients = scored(1.5, 0)
    other = one + np.random.default_rng(1).normal(size=len(one)) * 0.7
    found = difference(auroc(one, labels, patients), auroc(other, labels, patients), 0.95)
    from sklearn.metrics import roc_auc_score

    assert found.value == pytest.approx(roc_auc_score(labels, one) - roc_auc_score(labels, other))
    drawn = np.random.default_rng(5).integers(len(one), size=(2000, len(one)))
    both = [
        roc_auc_score(labels[d], one[d]) - roc_auc_score(labels[d], other[d])
        for d in drawn
        if 0 < labels[d].sum() < len(d)
    ]
    assert (found.ci_low, found.ci_high) == pytest.approx(np.quantile(both, [0.025, 0.975]), abs=0.02)


def test_a_model_does_not_differ_from_itself_and_pairing_narrows_the_interval():
    scores, labels, patients = scored(1.0, 2)
    own = auroc(scores, labels, patients)
    same = difference(own, own, 0.95)
    assert (same.value, same.ci_low, same.ci_high) == (0, 0, 0)
    assert Verdict.of(same) is Verdict.equivalent
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
        (-0.1, 0.01, Verdict.inconclusive),
        (None, None, Verdict.inconclusive),
    ],
)
def test_verdicts(low, high, verdict):
    assert Verdict.of(Estimate(0.0, low, high, 1, 1)) is verdict


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


def test_what_is_not_estimable_stays_so():
    nothing = Estimate(None, None, None, 0, 3, "not estimable: no healthy test images")
    some = auroc(*scored(1.0, 7))
    assert difference(some, nothing, 0.95).note == nothing.note
    assert over_seeds([some, nothing], 0.95).value is None
