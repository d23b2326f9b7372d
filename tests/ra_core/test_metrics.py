"""Metrics against reference libraries, their symmetries, and what they say where they are undefined."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torchmetrics.functional.image import structural_similarity_index_measure

from ra_core.metrics import (
    Estimate,
    Resampling,
    average,
    detection,
    detection_rate,
    dice,
    false_alarm_rate,
    image_auprc,
    image_auroc,
    inside_and_outside,
    mean_estimate,
    means,
    pixel_level,
    ssim,
    ssim_maps,
)
from ra_core.metrics.counts import average_precision, dice_curve
from ra_core.metrics.sample import MAX_BINS, Sample

QUICK: Resampling = {"bootstrap": 50, "confidence": 0.9, "seed": 3}


def _of_pixels(name: str) -> Callable[..., Estimate]:
    def metric(*pixels: Any, **resampling: Any) -> Estimate:
        return pixel_level(*pixels, **resampling)[name, "all"]

    return metric


PIXEL_METRICS = [pixel_auroc, pixel_auprc, oracle_dice] = [
    _of_pixels(name) for name in ("pixel_auroc", "pixel_auprc", "oracle_dice")
]


def _ids(n: int, per_patient: int = 1) -> list[str]:
    return [f"p{i // per_patient:04d}" for i in range(n)]


@st.composite
def _scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, and labels of both classes."""
    rows = draw(st.lists(st.tuples(st.integers(-6, 6), st.booleans()), min_size=2, max_size=40))
    scores, labels = np.array(rows, dtype=np.float64).T
    assume(0 < labels.sum() < len(labels))
    return scores, labels


def _pixels(n: int = 12, side: int = 16, levels: int | None = None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Maps that see lesions of every second image, of `levels` distinct values where given."""
    rng = np.random.default_rng(1)
    masks = rng.random((n, side, side)) < 0.1
    masks[::2] = False
    maps = rng.normal(size=masks.shape) + 1.5 * masks
    return (maps if levels is None else np.round(maps * levels) / levels), masks, _ids(n, 2)


@pytest.mark.parametrize("module", [detection, means])
def test_docstring_examples(module):
    assert doctest.testmod(module).failed == 0


# --- values against scikit-learn ------------------------------------------------------------------------------------


@given(_scored())
def test_image_metrics_equal_scikit_learn(scored):
    scores, labels = scored
    patients = _ids(len(scores))
    assert image_auroc(scores, labels, patients, **QUICK).value == pytest.approx(roc_auc_score(labels, scores))
    assert image_auprc(scores, labels, patients, **QUICK).value == pytest.approx(
        average_precision_score(labels, scores)
    )


@pytest.mark.parametrize("levels", [2, None])
def test_pixel_metrics_equal_scikit_learn(levels):
    maps, masks, patients = _pixels(n=20, side=24, levels=levels)
    assert levels or len(np.unique(maps)) > MAX_BINS
    truth, flat = masks.ravel(), maps.ravel()
    assert pixel_auroc(maps, masks, patients, **QUICK).value == pytest.approx(roc_auc_score(truth, flat))
    assert pixel_auprc(maps, masks, patients, **QUICK).value == pytest.approx(average_precision_score(truth, flat))


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_dice_is_among_the_pixels_metrics_where_a_threshold_is_given(threshold):
    pixels = _pixels(n=20, side=24)
    expected = {(name, "all") for name in ("pixel_auroc", "pixel_auprc", "oracle_dice")}
    found = pixel_level(*pixels, threshold, **QUICK)
    if threshold is not None:
        assert found["dice", "all"] == dice(*pixels, threshold, **QUICK)
        expected.add(("dice", "all"))
    assert found.keys() == expected


@pytest.mark.parametrize("levels", [4, None])
def test_a_group_of_images_is_measured_as_if_it_were_alone(levels):
    maps, masks, patients = _pixels(n=20, side=24, levels=levels)
    keep = np.random.default_rng(3).random(20) < 0.6
    found = pixel_level(maps, masks, patients, groups={"some": keep}, **QUICK)["pixel_auprc", "some"]
    alone = pixel_auprc(maps[keep], masks[keep], [p for p, kept in zip(patients, keep, strict=True) if kept], **QUICK)
    assert found.value == pytest.approx(alone.value)
    assert (found.n_healthy, found.n_anomalous) == (alone.n_healthy, alone.n_anomalous)
    assert (found.ci_low, found.ci_high) == pytest.approx((alone.ci_low, alone.ci_high), abs=1e-3)


@pytest.mark.parametrize("threshold", [-10.0, 0.0, 0.5, 1.0, 10.0])
def test_dice_equals_f1_of_pixels(threshold):
    maps, masks, patients = _pixels(levels=2)
    expected = f1_score(masks.ravel(), maps.ravel() > threshold, zero_division=0)
    assert dice(maps, masks, patients, threshold, **QUICK).value == pytest.approx(expected)


def test_oracle_dice_is_the_best_of_all_thresholds():
    maps, masks, patients = _pixels(n=4, side=8, levels=4)
    thresholds = [-np.finfo(float).max, *np.unique(maps)]
    best = max(dice(maps, masks, patients, float(t), **QUICK).value for t in thresholds)
    assert oracle_dice(maps, masks, patients, **QUICK).value == best


def test_ssim_equals_torchmetrics():
    rng = np.random.default_rng(0)
    x = rng.random((3, 32, 40))
    y = np.clip(x + rng.normal(scale=0.2, size=x.shape), 0, 1)
    _, per_pixel = structural_similarity_index_measure(
        torch.from_numpy(y)[:, None], torch.from_numpy(x)[:, None], data_range=1.0, sigma=1.5, return_full_image=True
    )
    inside = float(per_pixel[..., 5:-5, 5:-5].mean())  # torchmetrics' own mean includes its padded border
    assert ssim(x, y).mean() == pytest.approx(inside)
    assert ssim(x, y).shape == (3,)
    assert ssim(x, x).tolist() == [1.0] * 3


def test_likeness_inside_masks_is_low_only_where_the_pictures_differ_there():
    rng = np.random.default_rng(0)
    x = rng.random((2, 40, 40))
    y, masks = x.copy(), np.zeros(x.shape, bool)
    masks[:, 15:25, 15:25] = True
    y[masks] = rng.random(masks.sum())
    maps = ssim_maps(x, y)
    found = inside_and_outside(maps, masks)
    assert found.shape == (2, 2)
    assert (found[:, 0] < 0.5).all()
    assert (found[:, 1] > 0.9).all()
    np.testing.assert_allclose(inside_and_outside(ssim_maps(x, x), masks), 1)
    np.testing.assert_allclose(inside_and_outside(maps, ~masks), found[:, ::-1])
    for mask in (np.zeros_like(masks), np.ones_like(masks)):
        with pytest.raises(ValueError, match="inside and outside"):
            inside_and_outside(maps, mask)


def test_mean_counts_images_not_patients():
    for anomalous, counts in ((False, (3, 0)), (True, (0, 3))):
        found = mean_estimate([1.0, 2.0, 6.0], ["a", "b", "b"], anomalous=anomalous, **QUICK)
        assert (found.value, found.n_healthy, found.n_anomalous) == (3.0, *counts)
        assert (found.ci_low, found.ci_high) == (1.0, 4.0)


@given(_scored(), st.integers(-7, 7))
def test_rates_are_shares_of_one_kind_above_the_threshold_not_at_it(scored, threshold):
    scores, labels = scored
    patients = _ids(len(scores), 2)
    for rate, kind in ((detection_rate, 1), (false_alarm_rate, 0)):
        found = rate(scores, labels, patients, threshold, **QUICK)
        assert found.value == pytest.approx(np.mean(scores[labels == kind] > threshold))
        counts = (found.n_healthy, found.n_anomalous)
        assert counts == ((0, labels.sum()) if kind else ((labels == 0).sum(), 0))


def test_the_interval_of_a_rate_draws_patients():
    """20 patients of 10 images each that are all found or all missed: as uncertain as 20 images."""
    scores, labels = np.repeat(np.arange(20) % 2, 10), np.ones(200, int)
    by_patient, by_image = (
        detection_rate(scores, labels, _ids(200, k), 0.5, **QUICK | {"bootstrap": 1000}) for k in (10, 1)
    )
    assert by_patient.value == by_image.value == 0.5
    alone = detection_rate(scores[::10], labels[::10], _ids(20), 0.5, **QUICK | {"bootstrap": 1000})
    assert (by_patient.ci_low, by_patient.ci_high) == (alone.ci_low, alone.ci_high)
    assert by_patient.ci_high - by_patient.ci_low > 2 * (by_image.ci_high - by_image.ci_low)


def test_a_rate_needs_one_class_alone():
    scores, patients = [1.0, 2.0], _ids(2)
    assert detection_rate(scores, [1, 1], patients, 1.5, **QUICK).value == 0.5
    assert false_alarm_rate(scores, [0, 0], patients, 1.5, **QUICK).value == 0.5
    none = detection_rate(scores, [0, 0], patients, 1.5, **QUICK)
    assert none == Estimate(None, None, None, 0, 0, "not estimable: no anomalous test images")
    none = false_alarm_rate(scores, [1, 1], patients, 1.5, **QUICK)
    assert none == Estimate(None, None, None, 0, 0, "not estimable: no healthy test images")


# --- properties -----------------------------------------------------------------------------------------------------


@given(_scored())
def test_auroc_of_negated_scores_is_the_rest(scored):
    scores, labels = scored
    patients = _ids(len(scores))
    found, mirrored = (image_auroc(s, labels, patients, **QUICK).value for s in (scores, -scores))
    assert found + mirrored == pytest.approx(1)


@given(_scored())
def test_only_the_order_of_scores_matters(scored):
    scores, labels = scored
    patients = _ids(len(scores), 2)
    for metric in (image_auroc, image_auprc):
        plain = metric(scores, labels, patients, **QUICK)
        assert plain == metric(np.exp(3 * scores) + 7, labels, patients, **QUICK)
        assert 0 <= plain.value <= 1


@given(_scored(), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_rows_may_come_in_any_order(scored, random):
    scores, labels = scored
    patients = np.array(_ids(len(scores), 3))
    order = np.array(random.sample(range(len(scores)), len(scores)))
    shuffled = patients[order].tolist()
    for metric in (image_auroc, image_auprc):
        before = metric(scores, labels, patients.tolist(), **QUICK)
        assert metric(scores[order], labels[order], shuffled, **QUICK) == before
    values = scores / 3
    before = mean_estimate(values, patients.tolist(), **QUICK)
    assert mean_estimate(values[order], shuffled, **QUICK) == before


@pytest.mark.parametrize("metric", PIXEL_METRICS)
def test_images_may_come_in_any_order(metric):
    maps, masks, patients = _pixels()
    order = np.random.default_rng(2).permutation(len(maps))
    shuffled = [patients[i] for i in order]
    assert metric(maps[order], masks[order], shuffled, **QUICK) == metric(maps, masks, patients, **QUICK)


@given(_scored())
@settings(max_examples=30)
def test_a_second_copy_of_every_patient_leaves_the_value(scored):
    scores, labels = scored
    once, twice = _ids(len(scores)), _ids(2 * len(scores))
    for metric in (image_auroc, image_auprc):
        single = metric(scores, labels, once, **QUICK)
        double = metric(np.tile(scores, 2), np.tile(labels, 2), twice, **QUICK)
        assert double.value == pytest.approx(single.value)
        assert (double.n_healthy, double.n_anomalous) == (2 * single.n_healthy, 2 * single.n_anomalous)


# --- intervals ------------------------------------------------------------------------------------------------------


def test_interval_equals_patients_drawn_one_by_one():
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1], 30)
    scores, patients = np.round(rng.normal(labels, 1.0), 1), np.array(_ids(60, 2))
    groups = [np.flatnonzero(patients == p) for p in np.unique(patients)]
    drawn = [np.concatenate([groups[i] for i in rng.integers(30, size=30)]) for _ in range(500)]
    low, high = np.quantile([roc_auc_score(labels[d], scores[d]) for d in drawn], [0.05, 0.95])
    found = image_auroc(scores, labels, patients.tolist(), bootstrap=4000, confidence=0.9, seed=0)
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high), abs=0.02)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    truth = NormalDist().cdf(1 / 2**0.5)
    rng = np.random.default_rng(0)
    labels, covered = np.repeat([0, 1], 50), 0
    for _ in range(300):
        found = image_auroc(rng.normal(labels), labels, _ids(100), bootstrap=200, confidence=0.9, seed=0)
        covered += found.ci_low <= truth <= found.ci_high
    assert 0.83 <= covered / 300 <= 0.96


def test_images_of_one_patient_do_not_count_as_independent():
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], 100)
    scores = rng.normal(labels) + np.repeat(rng.normal(size=20), 10)
    one, many = (image_auroc(scores, labels, _ids(200, k), **QUICK | {"bootstrap": 500}) for k in (1, 10))
    assert one.value == many.value
    assert many.ci_high - many.ci_low > 1.3 * (one.ci_high - one.ci_low)


@pytest.mark.parametrize("metric", PIXEL_METRICS)
def test_quantile_bins_give_the_interval_of_all_distinct_values(metric, monkeypatch):
    maps, masks, patients = _pixels(n=20, side=24)
    masks &= np.random.default_rng(6).random(masks.shape) < 0.1  # a rare class, to be resolved as well
    binned = metric(maps, masks, patients, **QUICK)
    monkeypatch.setattr("ra_core.metrics.sample.MAX_BINS", maps.size)
    exact = metric(maps, masks, patients, **QUICK)
    assert binned.value == exact.value
    assert (binned.ci_low, binned.ci_high) == pytest.approx((exact.ci_low, exact.ci_high), abs=2e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 0.9), st.integers(2, 60))
def test_joined_bins_give_what_all_bins_give(seed, share, levels):
    """Of whatever patients are drawn, and also where none of them has an anomalous item."""
    rng = np.random.default_rng(seed)
    anomalous = rng.random((6, 40)) < share * (rng.random((6, 1)) < 0.6)
    assume(anomalous.any())
    bins = rng.integers(0, levels, anomalous.shape)
    sample = Sample("pixels", bins, levels, anomalous, np.arange(6), 6)
    drawn = rng.multinomial(6, np.full(6, 1 / 6), size=20).astype(float)
    (neg, pos), (fewer_neg, fewer_pos) = ([drawn @ table for table in by] for by in (sample.by_patient, sample.joined))
    assert fewer_neg.shape[1] <= 1 + np.count_nonzero(sample.totals[1])
    for measure in (average_precision, lambda n, p: dice_curve(n, p).max(axis=-1)):
        np.testing.assert_allclose(measure(fewer_neg, fewer_pos), measure(neg, pos), rtol=1e-12)


def test_seed_and_confidence_shape_the_interval_only():
    rng = np.random.default_rng(7)
    labels = np.repeat([0, 1], 20)
    scores, patients = rng.normal(labels), _ids(40)
    narrow = image_auroc(scores, labels, patients, bootstrap=200, confidence=0.5, seed=0)
    wide = image_auroc(scores, labels, patients, bootstrap=200, confidence=0.95, seed=0)
    other = image_auroc(scores, labels, patients, bootstrap=200, confidence=0.95, seed=1)
    assert wide == image_auroc(scores, labels, patients, bootstrap=200, confidence=0.95, seed=0)
    assert narrow.value == wide.value == other.value
    assert wide.ci_low < narrow.ci_low < narrow.ci_high < wide.ci_high
    assert (other.ci_low, other.ci_high) != (wide.ci_low, wide.ci_high)


# --- averages over sites ---------------------------------------------------------------------------------------------


def _site(seed, n=40, shift=1.0, **changes):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], n // 2)
    return image_auroc(rng.normal(shift * labels), labels, _ids(n), **QUICK | {"bootstrap": 2000} | changes)


def test_an_average_counts_each_site_the_same_and_sums_images():
    sites = [_site(0), _site(1, n=80), _site(2)]
    found = average(sites, **QUICK)
    assert found.value == pytest.approx(np.mean([e.value for e in sites]))
    assert (found.n_healthy, found.n_anomalous) == (80, 80)
    assert found.ci_low < found.value < found.ci_high
    assert found == average(sites, **QUICK)


def test_the_average_of_one_site_is_that_site():
    assert average([_site(0)], **QUICK | {"confidence": 0.9}) == _site(0)


def test_sites_are_independent_though_the_seed_draws_the_same_patients():
    """Four sites with the same scores: the interval of their mean is half as wide, not as wide as one."""
    sites = [_site(0)] * 4
    one, mean = sites[0], average(sites, **QUICK)
    assert mean.ci_high - mean.ci_low == pytest.approx((one.ci_high - one.ci_low) / 2, rel=0.1)
    by_place = np.corrcoef(average(sites[:2], **QUICK).resampled, one.resampled)[0, 1]
    assert abs(by_place) < 0.1


def test_bootstrap_values_have_the_stated_interval_and_take_no_part_in_comparison():
    found = _site(0)
    assert found.resampled.shape == (2000,)
    assert np.quantile(found.resampled, [0.05, 0.95]) == pytest.approx((found.ci_low, found.ci_high))
    assert "resampled" not in repr(found)
    assert hash(found) == hash(_site(0))


def test_an_average_with_a_site_that_is_not_estimable_is_none_and_not_lower():
    nothing = image_auroc([1.0, 2.0], [1, 1], _ids(2), **QUICK)
    found = average([_site(0), nothing, nothing], **QUICK)
    assert found == Estimate(None, None, None, 20, 24, "not estimable at 2 of 3 sites")


def test_an_average_with_a_site_without_an_interval_has_a_value_alone():
    single = image_auroc([0.0, 1.0], [0, 1], ["a", "a"], **QUICK)
    found = average([_site(0), single], **QUICK)
    assert found.value == pytest.approx((_site(0).value + 1) / 2)
    assert (found.ci_low, found.ci_high, found.note) == (None, None, "no interval: 1 of 2 sites have none")


def test_resamples_that_lack_a_class_at_a_site_are_left_out_of_the_average():
    small = image_auroc([0.0, 1.0], [0, 1], ["a", "b"], **QUICK | {"bootstrap": 2000})
    found = average([_site(0), small], **QUICK)
    assert found.note == small.note
    assert int(np.isnan(found.resampled).sum()) == int(found.note.split()[0])


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(ValueError, match="no estimates"):
        average([], **QUICK)
    with pytest.raises(ValueError, match=r"inhomogeneous|shape"):
        average([_site(0), _site(1, bootstrap=30)], **QUICK)


# --- where there is no number ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [image_auroc, image_auprc])
@pytest.mark.parametrize(
    ("labels", "reason"),
    [([], "no test images"), ([0, 0], "no anomalous test images"), ([1, 1], "no healthy test images")],
)
def test_a_missing_class_gives_none_with_the_reason(metric, labels, reason):
    n = len(labels)
    expected = Estimate(None, None, None, labels.count(0), labels.count(1), f"not estimable: {reason}")
    assert metric(np.arange(n), labels, _ids(n), **QUICK) == expected


def test_missing_pixels_give_none_with_the_reason():
    maps, none = np.ones((2, 4, 4)), np.zeros((2, 4, 4), bool)
    for metric in PIXEL_METRICS:
        reason = "not estimable: no anomalous test pixels"
        assert metric(maps, none, _ids(2), **QUICK) == Estimate(None, None, None, 2, 0, reason)
        assert metric(maps[:0], none[:0], [], **QUICK).note == "not estimable: no test images with known lesions"
    assert pixel_auroc(maps, ~none, _ids(2), **QUICK).note == "not estimable: no healthy test pixels"
    assert dice(maps, ~none, _ids(2), 0.5, **QUICK) == Estimate(1.0, 1.0, 1.0, 0, 2)
    assert dice(maps, none, _ids(2), 0.5, **QUICK).value is None
    assert ssim(maps[:0], maps[:0]).shape == (0,)
    nothing = Estimate(None, None, None, 0, 0, "not estimable: no healthy test images")
    assert mean_estimate([], [], **QUICK) == nothing


def test_one_patient_has_a_value_and_no_interval():
    found = image_auroc([0.0, 1.0], [0, 1], ["a", "a"], **QUICK)
    assert found == Estimate(1.0, None, None, 1, 1, "no interval: fewer than 2 patients")


def test_resamples_without_a_class_are_left_out_and_counted():
    found = image_auroc([0.0, 1.0], [0, 1], ["a", "b"], **QUICK)
    count = int(found.note.split()[0])
    assert 10 < count < 40
    assert found == Estimate(1.0, 1.0, 1.0, 1, 1, f"{count} of 50 resamples lack a class and were left out")


def test_an_interval_without_any_usable_resample_is_none():
    patients, once = ["a", "b"], {"bootstrap": 1, "confidence": 0.9}
    found = {image_auroc([0.0, 1.0], [0, 1], patients, seed=seed, **once) for seed in range(20)}
    assert found == {
        Estimate(1.0, 1.0, 1.0, 1, 1),
        Estimate(1.0, None, None, 1, 1, "no interval: 1 of 1 resamples lack a class"),
    }


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused_and_counted(bad):
    masks = np.zeros((2, 12, 12), bool)
    maps = np.zeros(masks.shape)
    maps[1, 0, :3] = bad
    with pytest.raises(ValueError, match="2 of 3 scores are not finite"):
        image_auroc([bad, 1.0, bad], [0, 1, 1], _ids(3), **QUICK)
    for metric in PIXEL_METRICS:
        with pytest.raises(ValueError, match="3 of 288 map values are not finite"):
            metric(maps, masks, _ids(2), **QUICK)
    with pytest.raises(ValueError, match="thresholds are not finite"):
        dice(np.zeros_like(maps), masks, _ids(2), bad, **QUICK)
    with pytest.raises(ValueError, match="thresholds are not finite"):
        detection_rate([1.0, 2.0], [0, 1], _ids(2), bad, **QUICK)
    with pytest.raises(ValueError, match="3 of 288 reconstruction pixels are not finite"):
        ssim(np.zeros_like(maps), maps)
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        mean_estimate([bad, 1.0], _ids(2), **QUICK)


def test_arguments_that_do_not_fit_are_refused():
    maps, masks = np.zeros((2, 12, 12)), np.zeros((2, 12, 12), bool)
    with pytest.raises(ValueError, match="must be 0"):
        image_auroc([1.0, 2.0], [0, 2], _ids(2), **QUICK)
    with pytest.raises(ValueError, match=r"labels of shape \(1,\) for 2 images"):
        image_auroc([1.0, 2.0], [0], _ids(2), **QUICK)
    with pytest.raises(ValueError, match="3 patients for 2 images"):
        image_auroc([1.0, 2.0], [0, 1], _ids(3), **QUICK)
    with pytest.raises(ValueError, match="need scores"):
        image_auroc(maps, [0, 1], _ids(2), **QUICK)
    with pytest.raises(ValueError, match="need maps"):
        pixel_auroc(maps[0], masks[0], _ids(2), **QUICK)
    with pytest.raises(ValueError, match="must be bool"):
        pixel_auroc(maps, masks.astype(int), _ids(2), **QUICK)
    with pytest.raises(ValueError, match="need images"):
        ssim(maps, maps[:1])
    with pytest.raises(ValueError, match="need values"):
        mean_estimate(maps, _ids(2), **QUICK)


@pytest.mark.parametrize("wrong", [{"bootstrap": 0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_impossible_intervals_are_refused(wrong):
    with pytest.raises(ValueError, match="need bootstrap"):
        image_auroc([1.0, 2.0], [0, 1], _ids(2), **QUICK | wrong)
