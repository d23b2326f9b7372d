import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from PIL import Image

from ra_core.data import ImageSet, Manifest
from ra_core.evaluation import Evaluation
from ra_core.models.registry import build_method
from ra_core.scoring import Scorer, ScoringConfig
from ra_core.site_scorer import SiteScorer
from simulation.report.gallery import draw_gallery, spread

pytestmark = pytest.mark.slow

RESIDUAL = ScoringConfig(name="residual", factors=("residual",))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 40), st.data())
def test_what_is_shown_spans_all_scores_without_repeats(scores, count, data):
    among = data.draw(st.lists(st.integers(0, len(scores) - 1), min_size=1, unique=True))
    found = spread(np.array(scores), among, count)
    assert len(found) == len(set(found)) == min(count, len(among))
    assert set(found) <= set(among)
    shown = [scores[i] for i in found]
    assert shown == sorted(shown)
    assert shown[0] == min(scores[i] for i in among)
    if len(found) > 1:
        assert shown[-1] == max(scores[i] for i in among)


def test_the_order_of_the_indices_does_not_matter():
    scores = np.array([0.5, 0.5, 0.1, 0.9])
    assert spread(scores, [3, 1, 0, 2], 3) == spread(scores, [0, 1, 2, 3], 3)


@pytest.fixture(scope="module")
def test_set(site_root, tiny_study):
    manifest = Manifest.load(site_root / "manifest.csv", site_root)
    return ImageSet(manifest.select(split="test"), site_root, tiny_study.preprocessing, None)


@pytest.fixture(scope="module")
def scorer(tiny_study):
    method = build_method(tiny_study.method, tiny_study.preprocessing.size, 0)
    return SiteScorer(method, Scorer(None), [RESIDUAL], {}, torch.device("cpu"))


def evaluation(scorer, images, threshold=0.1):
    scores = scorer.scores([images.images(range(len(images)))])
    return Evaluation([], RESIDUAL, {"residual": 0.5}, {"residual": threshold}, {"residual": 0.0}, scorer, scores, {})


def subset(images, rows):
    return ImageSet(rows, images.root, images.preprocessing, None)


def draw(images, scorer, count=2, threshold=0.1, title="Discs"):
    png = draw_gallery(images, evaluation(scorer, images, threshold), count, title)
    return Image.open(io.BytesIO(png)).convert("RGB")


def test_a_picture_is_drawn_with_healthy_and_sick_side_by_side(test_set, scorer):
    both = draw(test_set, scorer)
    assert both.width > both.height
    assert np.asarray(both).std() > 10
    healthy = [row for row in test_set.rows if row.label == "healthy"]
    assert draw(subset(test_set, healthy), scorer).width < 0.7 * both.width
    assert draw(test_set, scorer, count=3).height > both.height


def test_a_dollar_sign_in_a_title_is_no_formula(test_set, scorer):
    assert draw(test_set, scorer, count=1, title=r"$\frac{$")


def test_labels_need_not_have_equally_many_images(test_set, scorer):
    rows = [row for row in test_set.rows if row.label == "healthy"][:1]
    rows += [row for row in test_set.rows if row.label == "anomalous"]
    assert draw(subset(test_set, rows), scorer, count=3)


def test_equal_results_give_equal_bytes(test_set, scorer):
    a, b = (draw_gallery(test_set, evaluation(scorer, test_set), 1, "Discs") for _ in range(2))
    assert a == b


@pytest.mark.parametrize("label", ["healthy", "anomalous"])
def test_one_kind_of_image_is_enough(test_set, scorer, label):
    rows = [row for row in test_set.rows if row.label == label]
    assert draw(subset(test_set, rows), scorer, count=1)


def test_an_unknown_lesion_is_said_to_be_unknown(monkeypatch, test_set, scorer):
    said = []
    text = Axes.text
    monkeypatch.setattr(Axes, "text", lambda self, x, y, s, **how: said.append(s) or text(self, x, y, s, **how))
    rows = [replace(row, lesion_mask="") for row in test_set.rows]
    draw(subset(test_set, rows), scorer, count=2)
    assert said.count("not known") == 2


def test_the_colour_scale_is_three_thresholds_for_every_map(monkeypatch, test_set, scorer):
    scales = []
    imshow = Axes.imshow

    def watched(self, picture, **how):
        if how["cmap"] != "gray":
            scales.append((how["vmin"], how["vmax"]))
        return imshow(self, picture, **how)

    monkeypatch.setattr(Axes, "imshow", watched)
    draw(test_set, scorer, count=2, threshold=0.25)
    assert scales == [(0, 0.75)] * 4


def test_a_threshold_of_zero_is_drawn_too(test_set, scorer):
    assert draw(test_set, scorer, count=1, threshold=0.0)
