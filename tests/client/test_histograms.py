"""What a site tells of its scores, and a federation of real sites held against what all scores in one place give."""

import numpy as np
import pytest
from federating import train_hospitals
from hypothesis import given
from hypothesis import strategies as st
from replies import check_reply, histogram_reply
from scored import all_scores, calibrating, write_sites
from sklearn.metrics import roc_auc_score

from client.histograms.terms import narrowed
from client.ledger.book import Ledger
from client.ledger.listing import told
from client.ledger.report import make_report
from client.models import models
from ra_core.config import PolicyConfig, SiteConfig
from ra_core.messages import ABSENT
from ra_core.settings import load_config
from ra_core.thresholds import EDGES, Histogram, conformal_threshold, edge_above
from ra_core.thresholds.shrinkage import consortium
from ra_core.words import counted

pytestmark = pytest.mark.slow

NAMES = ("anna", "berta", "clara")
OPEN = {"histograms": "all"}
STUDY = calibrating()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A federation whose third site has no sick test image, and what each site's scores are."""
    folder = tmp_path_factory.mktemp("whole")
    nodes = write_sites(folder, NAMES, dict.fromkeys(NAMES, OPEN), tested={"clara": {"healthy": 3}})
    done = train_hospitals(nodes, STUDY)
    return folder, done, {node.site: all_scores(node, STUDY, done.best) for node in nodes}


def lines(folder, site="anna"):
    with Ledger.of(folder / "state", site).opened() as book:
        return list(book.lines())


class TestAFederation:
    def test_thresholds_are_the_centralised_ones_within_a_cell(self, whole):
        _, done, scores = whole
        found = done.calibration
        assert [site.site for site in found.sites] == list(NAMES)
        assert found.absent == {}
        for site in found.sites:
            exact = conformal_threshold(scores[site.site][0], 0.2, "study").value
            assert site.local.value == edge_above(exact)
            assert site.local.n == len(scores[site.site][0]) == 7
        exact = consortium([scores[name][0] for name in NAMES], 0.2)
        assert found.reference.pooled == edge_above(exact.pooled)
        assert found.histogram == Histogram.of(np.concatenate([scores[name][0] for name in NAMES]))

    def test_achieved_rates_are_the_centralised_ones(self, whole):
        _, done, scores = whole
        for site in done.calibration.sites:
            second = scores[site.site][1]
            for rate in site.achieved.values():
                assert (rate.above, rate.n) == ((second > rate.threshold).sum(), 9)

    def test_the_area_under_the_curve_is_the_centralised_one_within_its_bound(self, whole):
        _, done, scores = whole
        numbers = {(f.metric, f.where): f.number for f in done.calibration.figures}
        pooled = [np.concatenate([scores[name][part] for name in NAMES]) for part in (2, 3)]
        for where, (healthy, sick) in {"anna": scores["anna"][2:], "across sites": pooled}.items():
            exact = roc_auc_score([0] * len(healthy) + [1] * len(sick), [*healthy, *sick])
            assert abs(numbers["auroc", where].value - exact) <= numbers["auroc", where].bound + 1e-12
            assert (numbers["auroc", where].n_healthy, numbers["auroc", where].n_anomalous) == (len(healthy), len(sick))

    def test_a_site_without_sick_test_images_is_not_estimable(self, whole):
        _, done, _ = whole
        numbers = {(f.metric, f.where): f.number for f in done.calibration.figures}
        assert numbers["auroc", "clara"].note == "not estimable: no anomalous patients"
        assert "left out as not estimable: clara" in numbers["auroc", "within sites"].note

    def test_every_site_has_the_record_on_its_models_card(self, whole):
        folder, done, _ = whole
        (stored,) = models(folder / "state")
        assert stored.card.calibration == done.calibration

    def test_the_officer_reads_what_left(self, whole):
        folder, _, scores = whole
        kinds = [line.kind for line in lines(folder)]
        assert kinds == ["join", "round", "round", "closing", "histogram", "check", "delivery"]
        histogram, check = lines(folder)[4:6]
        counts = [count for *_, count in Histogram.of(scores["anna"][0]).cells]
        cells = counted(len(counts), "cell")
        text = f"score histogram of 7 healthy patients in {cells}, smallest count {min(counts)}"
        assert text in told(histogram)
        assert "of 9 other healthy patients" in told(check)
        assert "healthy test patients" in told(check)
        config = load_config(folder / "anna.yaml", SiteConfig)
        with Ledger.of(folder / "state", "anna").opened() as book:
            section = next(part for part in make_report(book, config, []).sections if part.title == "Scores")
        assert section.rows[0][3] == text
        text = Ledger.of(folder / "state", "anna").file.read_text()
        assert not any(repr(float(score)) in text for part in scores["anna"] for score in part)
        assert "calibration_healthy" not in text

    def test_what_a_policy_keeps_is_named_and_the_others_go_on(self, tmp_path):
        policies = {"anna": {"histograms": "none"}, "berta": {"min_cell": 8}}
        done = train_hospitals(write_sites(tmp_path, NAMES, policies), STUDY)
        assert [site.site for site in done.calibration.sites] == ["clara"]
        assert done.calibration.absent == {
            "anna": "its policy lets no histograms out (policy.histograms)",
            "berta": "it has fewer patients than its policy lets out (policy.min_count, policy.min_cell)",
        }
        assert {figure.metric for figure in done.calibration.figures} == {"false_alarm_rate"}
        rates = {figure.where: figure.number for figure in done.calibration.figures}
        assert [where for where in NAMES if rates[where].value is not None] == ["clara"]
        assert rates["anna"].note == f"not estimable: {done.calibration.absent['anna']}"
        assert done.delivered == NAMES
        assert lines(tmp_path)[-2].what["withheld"] == [f"histogram: {done.calibration.absent['anna']}"]

    @pytest.mark.parametrize("federation", [{"parts": ["encoder"]}, {"local_norms": True}], ids=["decoder", "norms"])
    def test_sites_score_with_layers_of_their_own(self, tmp_path, federation):
        done = train_hospitals(write_sites(tmp_path, NAMES[:2]), calibrating(**federation))
        assert [site.local.n for site in done.calibration.sites] == [7, 7]

    def test_a_standardised_scoring_of_slices(self, tmp_path):
        study = calibrating(calibration={"scoring": "standardised_residual_top", "unit": "slice"})
        done = train_hospitals(write_sites(tmp_path, NAMES[:2]), study)
        assert done.calibration.scoring.standardise
        assert [site.local.n for site in done.calibration.sites] == [7, 7]

    def test_calibration_patients_have_no_say_in_the_model(self, tmp_path):
        """Without a split of theirs they are validation patients, kept back in all rounds."""
        nodes = write_sites(tmp_path, NAMES[:2], counts={"train": 8, "val": 9})
        done = train_hospitals(nodes, STUDY)
        assert done.joined["anna"].n_val == 5
        assert [site.local.n for site in done.calibration.sites] == [3, 3]
        assert done.calibration.sites[0].local.note == "not enough patients: 3 of 4 needed"


def private(tells=()):
    dp = {"noise_multiplier": 1.0}
    return calibrating().model_copy(update={"dp": dp}), PolicyConfig(dp_tells=tells)


class TestThePolicy:
    @pytest.mark.parametrize("least", [{"min_cell": 5}, {"min_count": 5}, {"min_cell": 2, "min_count": 5}], ids=str)
    def test_a_histogram_leaves_in_cells_as_large_as_the_policy_wants(self, least):
        scores = np.linspace(0.1, 20, 23)
        sent, withheld = narrowed(histogram_reply(scores), STUDY, PolicyConfig(**least))
        assert sent.scores == Histogram.of(scores, 5)
        assert min(count for *_, count in sent.scores.cells) >= 5
        assert (sent.n, withheld) == (23, [])

    @pytest.mark.parametrize(
        "policy", [{"histograms": "none"}, {"min_cell": 5}, {"min_count": 5}], ids=lambda policy: next(iter(policy))
    )
    def test_what_may_not_leave_is_replaced_by_the_reason(self, policy):
        sent, withheld = narrowed(histogram_reply(), STUDY, PolicyConfig(**policy))
        assert (sent.n, sent.scores) == (0, Histogram(()))
        assert next(iter(policy)) in sent.withheld
        assert withheld == [f"histogram: {sent.withheld}"]

    def test_with_differential_privacy_nothing_leaves_unless_the_policy_says_so(self):
        study, policy = private()
        sent, _ = narrowed(histogram_reply(), study, policy)
        assert "policy.dp_tells" in sent.withheld
        checked, _ = narrowed(check_reply(), study, policy)
        assert (checked.n, checked.above_local, checked.healthy) == (0, ABSENT, Histogram(()))
        study, policy = private(("histograms",))
        assert narrowed(histogram_reply(), study, policy)[0] == histogram_reply()

    def test_test_patients_are_told_only_where_the_policy_says_all(self):
        sent, withheld = narrowed(check_reply(), STUDY, PolicyConfig())
        assert (sent.healthy, sent.anomalous) == (Histogram(()), Histogram(()))
        assert sent.above_local == 1
        assert "test patients" in sent.withheld_test
        assert withheld == [f"histograms of test patients: {sent.withheld_test}"]
        assert narrowed(check_reply(), STUDY, PolicyConfig(histograms="all"))[0] == check_reply()

    def test_one_class_of_few_test_patients_keeps_both(self):
        sent, _ = narrowed(check_reply(), STUDY, PolicyConfig(histograms="all", min_cell=2))
        assert (sent.healthy, sent.anomalous) == (Histogram(()), Histogram(()))
        assert "min_cell" in sent.withheld_test

    @pytest.mark.parametrize("key", ["min_cell", "min_count"])
    def test_small_counts_above_thresholds_are_left_out(self, key):
        sent, withheld = narrowed(check_reply(), STUDY, PolicyConfig(**{key: 2}))
        assert (sent.above_shrunken, sent.above_local, sent.above_pooled) == (2, ABSENT, ABSENT)
        assert f"policy.{key}" in sent.withheld
        assert withheld[0] == f"counts above thresholds: {sent.withheld}"
        nobody = check_reply(above_local=0, above_pooled=0, above_shrunken=0)
        assert narrowed(nobody, STUDY, PolicyConfig(**{key: 2}))[0].above_local == 0

    @given(st.lists(st.integers(-1, 20), min_size=3, max_size=3), st.integers(1, 8))
    def test_no_two_counts_that_leave_differ_by_fewer_than_a_cell_may_have(self, counts, least):
        fields = dict(zip(("above_local", "above_pooled", "above_shrunken"), counts, strict=True))
        sent, _ = narrowed(check_reply(**fields), STUDY, PolicyConfig(min_cell=least))
        left = [getattr(sent, name) for name in fields if getattr(sent, name) != ABSENT]
        marks = [0, 20, *left]
        assert all(a == b or abs(a - b) >= least for a in marks for b in marks)
        assert all(getattr(sent, name) in (ABSENT, value) for name, value in fields.items())
        assert least > 1 or [getattr(sent, name) for name in fields] == counts

    @given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.integers(1, 9))
    def test_edges_are_cells_of_their_own_scores(self, scores, least):
        """So that the policy can make cells larger without the scores."""
        fine = Histogram.of(scores)
        if len(scores) >= least:
            assert Histogram.of(fine.highest(), least) == Histogram.of(scores, least)
        assert set(fine.highest()) <= set(EDGES)
