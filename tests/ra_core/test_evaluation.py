from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from ra_core import groups, metrics
from ra_core.baselines import evaluate_baselines, evaluate_shortcuts
from ra_core.data import ImageSet, KnownMasks, Manifest, Row, SiteImages
from ra_core.evaluation import CHOSEN_NOTE, evaluate
from ra_core.groups import Cases
from ra_core.models.registry import build_method
from ra_core.scoring import SCORINGS, Scorer
from ra_core.shortcuts import SHORTCUTS, SLICE_HEIGHT
from ra_core.synthetic import KINDS
from ra_core.table import Table

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
IMAGE = ["auroc", "auprc"]
RATES = ["detection_rate", "false_alarm_rate"]
PIXEL = ["pixel_auroc", "pixel_auprc", "oracle_dice", "dice"]
RECONSTRUCTION = ["ssim", "squared_error", "lpips"]
TWIN = [f"{metric}_{where}" for metric in RECONSTRUCTION for where in ("lesion", "rest")]
FEW = tuple(s for s in SCORINGS if s.name in ("residual", "standardised_residual"))


@pytest.fixture(scope="module")
def images(site_root, tiny_study):
    manifest = Manifest.load(site_root / "manifest.csv", site_root)
    splits = (
        ImageSet(manifest.select(split=split), site_root, tiny_study.preprocessing, None)
        for split in ("train", "val", "test", "calibration")
    )
    return SiteImages("discs", *splits)


@pytest.fixture(scope="module")
def table(tiny_study):
    return Table("local", "discs", "discs", 0, tiny_study.evaluation)


@pytest.fixture(scope="module")
def method(tiny_study):
    return build_method(tiny_study.method, tiny_study.preprocessing.size, 0)


@pytest.fixture(scope="module")
def evaluation(method, images, table, untrained_perceptual):
    return evaluate(method, "ra", Scorer(untrained_perceptual), images, table, device=CPU)


def with_test_rows(images, rows):
    test = images.test
    return replace(images, test=ImageSet(rows, test.root, test.preprocessing, None))


def quick(method, images, table):
    return evaluate(method, "ra", Scorer(None), images, table, device=CPU, scorings=FEW)


def select(rows, **where):
    return [row for row in rows if all(getattr(row, k) == v for k, v in where.items())]


def test_every_scoring_has_every_metric_once(evaluation):
    found = [(r.scoring, r.metric, r.anomaly) for r in evaluation.rows]
    expected = [(s.name, metric, "all") for s in SCORINGS for metric in IMAGE + RATES + PIXEL]
    expected += [("reconstruction", metric, "healthy") for metric in RECONSTRUCTION]
    expected += [("reconstruction", metric, "all") for metric in TWIN]
    expected += [(s.name, "auroc", f"synthetic: {kind}") for s in SCORINGS for kind in KINDS]
    assert sorted(found) == sorted(expected)


def test_every_row_says_where_it_comes_from(evaluation):
    for row in evaluation.rows:
        assert (row.arm, row.method, row.train_sites, row.test_site, row.seed) == ("local", "ra", "discs", "discs", 0)
        assert row.value is not None
        assert row.ci_low <= row.ci_high
    sick, healthy = (0, 6), (6, 0)
    counts = {"detection_rate": sick, "false_alarm_rate": healthy, **dict.fromkeys(TWIN, sick)}
    for row in select(evaluation.rows, anomaly="all"):
        assert (row.n_healthy, row.n_anomalous) == counts.get(row.metric, (6, 6))
    for row in select(evaluation.rows, anomaly="healthy"):
        assert (row.n_healthy, row.n_anomalous) == healthy
    for kind in KINDS:
        for row in select(evaluation.rows, anomaly=f"synthetic: {kind}"):
            assert (row.n_healthy, row.n_anomalous, row.note) == (5, 5, "on validation images")


def test_image_metrics_are_those_of_the_scores(evaluation, images):
    labels = [row.label == "anomalous" for row in images.test.rows]
    for name, scores in evaluation.scores.items():
        auroc, auprc = (select(evaluation.rows, scoring=name, metric=m, anomaly="all")[0].value for m in IMAGE)
        assert auroc == pytest.approx(roc_auc_score(labels, scores))
        assert auprc == pytest.approx(average_precision_score(labels, scores))


def test_rates_are_shares_above_a_threshold_that_healthy_validation_images_set(evaluation, images, table):
    labels = np.array([row.label == "anomalous" for row in images.test.rows])
    healthy = evaluation.scorer.scores([images.val.images(range(5))])
    for name, scores in evaluation.scores.items():
        threshold = evaluation.image_thresholds[name]
        assert threshold == pytest.approx(healthy[name].max(), rel=1e-5)  # 5 % of 5 images is none
        for metric, of_kind in zip(RATES, (labels, ~labels), strict=True):
            (row,) = select(evaluation.rows, scoring=name, metric=metric)
            assert row.value == np.mean(scores[of_kind] > threshold)


def test_pixel_metrics_are_those_of_the_maps_at_the_validation_threshold(evaluation, images):
    masks = np.stack([mask.numpy() for mask in images.test.masks(range(12))])
    maps = evaluation.scorer.maps(images.test.images(range(12)))
    for name, found in maps.items():
        values = found[:, 0].numpy()
        (auroc,) = select(evaluation.rows, scoring=name, metric="pixel_auroc")
        assert auroc.value == pytest.approx(roc_auc_score(masks.ravel(), values.ravel()), abs=1e-3)
        flagged = values > evaluation.pixel_thresholds[name]
        (dice,) = select(evaluation.rows, scoring=name, metric="dice")
        assert dice.value == pytest.approx(2 * (flagged & masks).sum() / (flagged.sum() + masks.sum()), abs=1e-3)


def test_reconstruction_error_is_that_of_healthy_images(evaluation, images):
    healthy = [i for i, row in enumerate(images.test.rows) if row.label == "healthy"]
    x = images.test.images(healthy)
    x_hat = evaluation.scorer.reconstruct(x)
    expected = {
        "squared_error": float((x_hat - x).square().mean()),
        "ssim": metrics.ssim(x[:, 0], x_hat[:, 0]).mean(),
        "lpips": float(evaluation.scorer.scorer.perceptual.distance(x, x_hat).mean()),
    }
    found = {row.metric: row.value for row in select(evaluation.rows, scoring="reconstruction", anomaly="healthy")}
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_twin_of_a_sick_image_is_measured_in_its_lesions_and_elsewhere(evaluation, images):
    known = images.lesions
    sick = [place for place, mask in enumerate(known.masks) if mask.any()]
    x = images.test.images([known.indices[place] for place in sick])
    x_hat, perceptual = evaluation.scorer.reconstruct(x), evaluation.scorer.scorer.perceptual
    maps = {
        "ssim": metrics.ssim_maps(x[:, 0], x_hat[:, 0]),
        "squared_error": (x - x_hat)[:, 0].double().square().numpy(),
        "lpips": perceptual.distance_map(x, x_hat)[:, 0].numpy(),
    }
    expected = {}
    for metric, found in maps.items():
        of_each = [(m[mask].mean(), m[~mask].mean()) for m, mask in zip(found, known.masks[sick], strict=True)]
        lesion, rest = np.mean(of_each, 0)
        expected |= {f"{metric}_lesion": lesion, f"{metric}_rest": rest}
    rows = select(evaluation.rows, scoring="reconstruction", anomaly="all")
    assert {row.metric: row.value for row in rows} == pytest.approx(expected, rel=1e-5)
    assert {row.estimate.n_anomalous for row in rows} == {len(sick)}
    assert {row.metric for row in rows if row.perceptual == perceptual.digest[:12]} == {"lpips_lesion", "lpips_rest"}


def test_what_is_not_shown_is_not_measured_and_changes_nothing(method, images, table, evaluation):
    device, scorer = torch.device("cpu"), evaluation.scorer.scorer
    found = evaluate(method, "ra", scorer, images, table, device=device, shown=("residual", "nowhere"))
    assert {row.scoring for row in select(found.rows, metric="dice")} == {"residual", found.chosen.name}
    assert found.chosen == evaluation.chosen
    told = {(r.scoring, r.metric, r.anomaly): (r.value, r.ci_low) for r in evaluation.rows}
    assert all(told[r.scoring, r.metric, r.anomaly] == pytest.approx((r.value, r.ci_low)) for r in found.rows)


def test_reconstruction_metrics_hold_no_more_than_a_batch(method, images, table, monkeypatch):
    asked = []
    read = ImageSet.images
    monkeypatch.setattr(ImageSet, "images", lambda self, indices: asked.append(len(indices)) or read(self, indices))
    quick(method, images, replace(table, config=table.config.model_copy(update={"batch_size": 4})))
    assert max(asked[1:]) <= 8  # the 8 reference images that lend pieces are read at once


def test_the_chosen_scoring_is_best_on_synthetic_anomalies_and_marked(evaluation):
    assert evaluation.synthetic[evaluation.chosen.name] == max(evaluation.synthetic.values())
    for name, mean in evaluation.synthetic.items():
        kinds = [select(evaluation.rows, scoring=name, anomaly=f"synthetic: {kind}")[0].value for kind in KINDS]
        assert mean == pytest.approx(np.mean(kinds))
    marked = {row.scoring for row in evaluation.rows if "chosen" in row.note}
    assert marked == {evaluation.chosen.name}


def test_no_test_label_is_needed_to_choose(method, images, table):
    swap = {"healthy": "anomalous", "anomalous": "healthy"}
    swapped = [replace(row, label=swap[row.label], lesion_mask="") for row in images.test.rows]
    true, false = (quick(method, i, table) for i in (images, with_test_rows(images, swapped)))
    assert false.chosen == true.chosen
    assert false.pixel_thresholds == true.pixel_thresholds
    assert false.image_thresholds == true.image_thresholds
    assert false.synthetic == true.synthetic
    for name, scores in true.scores.items():
        assert np.array_equal(false.scores[name], scores)
        a, b = (select(e.rows, scoring=name, metric="auroc", anomaly="all")[0].value for e in (true, false))
        assert a + b == pytest.approx(1)


def test_two_evaluations_are_equal(method, images, table):
    assert quick(method, images, table).rows == quick(method, images, table).rows


def test_a_site_without_masks_has_image_metrics_and_pixel_rows_with_a_reason(method, images, table):
    rows = [replace(row, lesion_mask="") for row in images.test.rows]
    found = quick(method, with_test_rows(images, rows), table).rows
    assert all(row.value is not None for row in found if row.metric not in PIXEL)
    pixel = [row for row in found if row.metric in PIXEL]
    assert len(pixel) == len(PIXEL) * len(FEW)
    assert all(row.value is None and row.note for row in pixel)


def test_where_some_masks_are_known_pixels_are_counted_on_those_alone(method, images, table):
    first = next(i for i, row in enumerate(images.test.rows) if row.lesion_mask)
    rows = [replace(row, lesion_mask=row.lesion_mask if i == first else "") for i, row in enumerate(images.test.rows)]
    found = quick(method, with_test_rows(images, rows), table).rows
    for row in found:
        if row.metric in PIXEL:
            assert (row.n_healthy, row.n_anomalous) == (6, 1)
            assert row.value is not None


@pytest.mark.parametrize(("only", "missing"), [("anomalous", "healthy"), ("healthy", "anomalous")])
def test_a_test_set_of_one_kind_gives_reasons_and_no_exception(method, images, table, only, missing):
    """Of a site without healthy test images, detection is told all the same, and so are pixels."""
    rows = [row for row in images.test.rows if row.label == only]
    some = with_test_rows(images, rows)
    found = quick(method, some, table).rows + evaluate_baselines(some, table)
    whole = [row for row in found if row.metric in IMAGE and row.anomaly == "all"]
    assert whole
    assert all(row.value is None and row.note.endswith(f"not estimable: no {missing} test images") for row in whole)
    for metric, kind in (("detection_rate", "anomalous"), ("false_alarm_rate", "healthy")):
        rates = select(found, metric=metric)
        assert len(rates) == len(whole) / 2
        assert all((row.value is None) == (only != kind) for row in rates)
        assert all((f"not estimable: no {kind} test images" in row.note) == (only != kind) for row in rates)
    pixel = [row for row in found if row.metric in PIXEL]
    assert all((row.value is None) == (only == "healthy") for row in pixel)
    reconstruction = [row for row in found if row.metric in RECONSTRUCTION]
    assert all(
        (row.value is None and row.note == "not estimable: no healthy test images") == (only == "anomalous")
        for row in reconstruction
    )
    assert all(row.value is not None or row.note for row in found)


def test_a_site_with_borrowed_healthy_images_says_so_in_every_row(method, images, table):
    sick = [row for row in images.test.rows if row.label == "anomalous"]
    borrowed = replace(with_test_rows(images, [replace(row, lesion_mask="") for row in sick]), site="elsewhere")
    noted = replace(table, test_site="elsewhere", note="healthy reference images of discs")
    found = quick(method, borrowed, noted).rows + evaluate_baselines(borrowed, noted)
    assert all(row.note.startswith("healthy reference images of discs") for row in found)
    (row,) = select(found, method="ra", scoring="residual", metric="auroc", anomaly="all")
    assert row.note.endswith("not estimable: no healthy test images")
    assert all(row.value is not None for row in select(found, metric="detection_rate"))
    assert all("no test images with known lesions" in row.note for row in select(found, metric="pixel_auprc"))


def test_the_height_of_slices_is_a_shortcut_where_it_is_known_of_all(images, table, monkeypatch):
    def heights(self):
        return [0.1 if row.label == "healthy" else 0.9 for row in self.rows]

    assert not select(evaluate_shortcuts(images, table), scoring=SLICE_HEIGHT)
    monkeypatch.setattr(ImageSet, "heights", heights)
    found = {row.metric: row for row in select(evaluate_shortcuts(images, table), scoring=SLICE_HEIGHT, anomaly="all")}
    assert set(found) == {*IMAGE, *RATES}
    assert (found["auroc"].value, found["detection_rate"].value, found["false_alarm_rate"].value) == (1, 1, 0)
    monkeypatch.setattr(ImageSet, "heights", lambda self: [*heights(self)[1:], None])
    assert not select(evaluate_shortcuts(images, table), scoring=SLICE_HEIGHT)


def test_baselines_and_shortcuts_have_rows_of_their_own(images, table):
    said = []
    rows = evaluate_baselines(images, table, said.append)
    whole = [row for row in rows if row.anomaly == "all"]
    found = sorted((row.method, row.scoring, row.metric) for row in whole)
    plain = [
        "residual",
        "residual_top",
    ]  # standardised by images that it knows by heart, nearest neighbour would be lost
    standardised = ["standardised_residual", "standardised_residual_top", "signed_residual_top"]
    scored = {"nearest_neighbour": plain, "pca": [*plain, *standardised]}
    expected = [(m, s, metric) for m, names in scored.items() for s in names for metric in IMAGE + RATES + PIXEL]
    expected += [(m, "reconstruction", metric) for m in scored for metric in TWIN if "lpips" not in metric]
    expected += [("shortcut", name, metric) for name in SHORTCUTS for metric in IMAGE + RATES + PIXEL[:3]]
    assert found == sorted(expected)
    for method, names in scored.items():
        assert len({row.scoring for row in whole if row.method == method and CHOSEN_NOTE in row.note} & set(names)) == 1
    assert all(row.value is not None for row in whole)
    assert all((row.n_healthy, row.n_anomalous) == (6, 6) for row in whole if row.metric not in RATES + TWIN)
    assert said == ["baseline: nearest_neighbour", "baseline: pca", "shortcuts"]
    (nearest,) = select(rows, method="nearest_neighbour", scoring="residual", metric="pixel_auroc")
    assert nearest.value > 0.8  # a dark hole in a disc is easy
    labels = [row.label == "anomalous" for row in images.test.rows]
    (bright,) = select(rows, scoring="brightness", metric="auroc")
    brightness = images.test.images(range(12)).mean((1, 2, 3))
    assert bright.value == pytest.approx(roc_auc_score(labels, brightness))
    (found,) = select(rows, scoring="brightness", metric="detection_rate")
    limit = images.val.images(range(5)).mean((1, 2, 3)).max()
    assert found.value == pytest.approx(np.mean(brightness.numpy()[labels] > limit.item()))
    masks = np.stack(images.test.masks(range(12)))
    (pixel,) = select(rows, scoring="brightness", metric="pixel_auroc")
    assert pixel.value == pytest.approx(roc_auc_score(masks.ravel(), images.test.images(range(12)).ravel()))


def test_rows_name_the_perceptual_network_where_it_had_a_part(evaluation, images, table, untrained_perceptual):
    perceptual = {s.name for s in SCORINGS if s.is_perceptual}
    for row in evaluation.rows + evaluate_baselines(images, table):
        used = row.scoring in perceptual or row.metric.startswith("lpips")
        assert row.perceptual == (untrained_perceptual.digest[:12] if used else "")


def test_masks_are_read_once(method, images, table, monkeypatch):
    asked = []
    monkeypatch.setattr(ImageSet, "masks", lambda self, indices: asked.append(1) or [None for _ in indices])
    fresh = replace(images)
    quick(method, fresh, table)
    evaluate_baselines(fresh, table)
    assert asked == [1]


def test_a_baseline_that_cannot_be_had_says_why(images, table):
    train = ImageSet(images.train.rows[:1] * 8, images.train.root, images.train.preprocessing, None)
    rows = evaluate_baselines(replace(images, train=train), table)
    (pca,) = select(rows, method="pca")
    assert pca.value is None
    assert "all the same" in pca.note
    assert all(row.value is not None for row in rows if row is not pca)


def test_each_group_is_measured_against_all_healthy_images(table):
    """Rows of AUROC, detection rate and, where lesions are known, pixel AUPRC."""
    rng = np.random.default_rng(0)
    sick = np.arange(30) >= 12
    rows = [
        Row(str(i), "s", "", "", "test", "anomalous" if is_sick else "healthy", "", str(i), "", "", "", 0)
        for i, is_sick in enumerate(sick)
    ]
    masks = (rng.random((30, 8, 8)) < 0.2) & sick[:, None, None]
    group = np.arange(30) >= 18
    cases = Cases(rows, KnownMasks(list(range(30)), masks, [row.patient_id for row in rows]), {"g": group})
    scores, maps = rng.random(30), rng.random((30, 8, 8))
    found = table.image_level("ra", "x", scores, cases, 0.5) + table.pixel_level("ra", "x", maps, cases)
    assert sorted(row.metric for row in found if row.anomaly == "g") == ["auroc", "detection_rate", "pixel_auprc"]
    by_metric = {row.metric: row for row in found if row.anomaly == "g"}
    keep = group | ~sick
    assert by_metric["auroc"].value == pytest.approx(roc_auc_score(sick[keep], scores[keep]))
    assert by_metric["detection_rate"].value == pytest.approx(np.mean(scores[group] > 0.5))
    expected = average_precision_score(masks[keep].ravel(), maps[keep].ravel())
    assert by_metric["pixel_auprc"].value == pytest.approx(expected)
    assert {(row.n_healthy, row.n_anomalous) for row in by_metric.values()} == {(12, 12), (0, 12)}


def test_groups_of_a_site_have_rows_of_methods_baselines_and_shortcuts(method, images, table, monkeypatch):
    monkeypatch.setattr(groups, "SMALLEST_GROUP", 2)
    rows = [replace(row, pathology=f"hole, {'odd' if i % 2 else 'even'}") for i, row in enumerate(images.test.rows)]
    some = with_test_rows(images, rows)
    found = quick(method, some, table).rows + evaluate_baselines(some, table)
    for name, count in (("hole", 6), ("odd", 3), ("even", 3)):
        of_group = select(found, anomaly=name)
        assert {row.metric for row in of_group} == {"auroc", "detection_rate", "pixel_auprc"}
        assert {row.method for row in of_group} == {"ra", "nearest_neighbour", "pca", "shortcut"}
        assert all(row.value is not None and row.n_anomalous == count for row in of_group)
    assert {row.anomaly for row in found} >= {"size: medium"} or {row.anomaly for row in found} >= {"size: large"}


BOX = ["box_recall", "box_precision", "box_f1", "box_f1_scale_free", "box_auroc"]


def boxed(images, keep_masks):
    """The same images, the sick ones with a box around the hole."""
    mask = {} if keep_masks else {"lesion_mask": ""}
    rows = [replace(row, boxes="32 24 45 37", **mask) if row.lesion_mask else row for row in images.test.rows]
    return with_test_rows(images, rows)


@pytest.mark.parametrize("keep_masks", [True, False])
def test_boxes_are_measured_where_there_are_any(method, images, table, keep_masks):
    with_boxes = quick(method, boxed(images, keep_masks), table)
    maps = with_boxes.scorer.maps(images.test.images(range(12)))
    sick = [i for i, row in enumerate(images.test.rows) if row.label == "anomalous"]
    inside = np.s_[24:37, 32:45]
    for scoring in FEW:
        rows = {row.metric: row for row in select(with_boxes.rows, scoring=scoring.name, anomaly="all")}
        assert sorted(name for name in rows if name.startswith("box")) == sorted(BOX)
        values = maps[scoring.name][sick, 0].numpy()
        share = (values[:, *inside] > with_boxes.pixel_thresholds[scoring.name]).mean((1, 2))
        assert rows["box_recall"].value == (share > 0.1).mean()
        assert (rows["box_auroc"].n_healthy, rows["box_auroc"].n_anomalous) == (0, 6)
        assert "6 boxes" in rows["box_auroc"].note
    others = [row for row in with_boxes.rows if row.metric not in BOX]
    plain = images if keep_masks else with_test_rows(images, [replace(r, lesion_mask="") for r in images.test.rows])
    assert others == quick(method, plain, table).rows


def test_shortcuts_have_boxes_without_a_threshold(images, table):
    rows = select(evaluate_baselines(boxed(images, keep_masks=False), table), method="shortcut")
    assert {row.metric for row in rows if row.metric.startswith("box")} == {"box_auroc"}
    assert {row.scoring for row in rows if row.metric == "box_auroc"} == set(SHORTCUTS)


def test_a_group_of_boxes_needs_ten_images_with_any():
    rows = [
        Row(f"{i}", "s", "", "", "test", "anomalous", "a" if i < 12 else "b", f"{i}", "", "", "", 0) for i in range(30)
    ]
    known = groups.KnownBoxes([*range(11), *range(12, 21)], [((slice(0, 4), slice(0, 4)),)] * 20, ["p"] * 20)
    masks = KnownMasks([], np.zeros((0, 8, 8), bool), [])
    cases = Cases(rows, masks, groups.groups(rows, [], np.zeros(0)), known)
    assert {name: images.sum() for name, images in cases.box_groups.items()} == {"a": 11}
    assert cases.mapped == known.indices
    assert cases.of_batch(8, 8) == [0, 1, 2, 4, 5, 6, 7]
