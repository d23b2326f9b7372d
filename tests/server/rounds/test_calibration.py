"""Federated calibration with sites that answer at once: what counts, who is left out and why; nothing ends the run."""

import numpy as np
import pytest
from answering import SITES, good_check, good_delivery, good_histogram, scores_of
from federating import KilledError, Told, federate, killed_when
from flwr.app import Error
from hospitals import model_digest as digest

from ra_core.messages import ABSENT
from ra_core.thresholds import EDGES, Histogram, conformal_threshold, edge_above
from ra_core.thresholds.record import FederatedCalibration
from ra_core.thresholds.shrinkage import consortium, shrunken
from server.rounds.card import model_card
from server.rounds.checkpoint import Checkpoints

ASKED = {"calibration": {}}
RATE = 0.05


def calibrated(**changes):
    return federate(**ASKED | {"rounds": 1} | changes)


def of_site(found, name):
    return next(site for site in found.sites if site.site == name)


@pytest.fixture(scope="module")
def found():
    return calibrated().calibration


def test_without_being_asked_nothing_is_calibrated():
    def never(site, order):
        raise AssertionError

    done = federate(rounds=1, histograms=dict.fromkeys(SITES, never))
    assert done.calibration is None
    assert done.delivered == SITES


def test_thresholds_are_those_of_the_scores_themselves_rounded_up_to_an_edge(found):
    first = [scores_of(site)[0] for site in SITES]
    reference = consortium(first, RATE)
    assert found.reference.n == 4 * 40
    assert found.reference.pooled == edge_above(reference.pooled)
    for site, scores in zip(SITES, first, strict=True):
        told = of_site(found, site)
        assert told.local.value == edge_above(conformal_threshold(scores, RATE, "study").value)
        assert told.shrunken in EDGES
        assert told.shrunken == pytest.approx(shrunken(scores, reference), rel=0.05)
        assert told.drift.n_reference == 3 * 40


def test_achieved_rates_are_exact(found):
    for site in SITES:
        told, second = of_site(found, site), scores_of(site)[1]
        assert told.achieved.keys() == {"local", "pooled", "shrunken"}
        for rate in told.achieved.values():
            assert (rate.above, rate.n) == ((second > rate.threshold).sum(), 39)
            assert rate.low <= rate.above / rate.n <= rate.high


def test_figures_are_of_each_site_within_and_across(found):
    where = [figure.where for figure in found.figures if figure.metric == "auroc"]
    assert where == [*SITES, "within sites", "across sites"]
    numbers = {(figure.metric, figure.where): figure.number for figure in found.figures}
    *_, healthy, anomalous = scores_of("clara")
    exact = np.mean(anomalous[:, None] > healthy)
    number = numbers["auroc", "clara"]
    assert abs(number.value - exact) <= number.bound + 1e-12
    assert (number.n_healthy, number.n_anomalous) == (9, 11)
    assert "each counting the same" in numbers["auroc", "within sites"].note
    assert "all patients as if of one site" in numbers["auroc", "across sites"].note
    hits = sum((scores_of(site)[3] > of_site(found, site).shrunken).sum() for site in SITES)
    assert numbers["detection_rate", "across sites"].value == hits / 44
    above = sum((scores_of(site)[1] > of_site(found, site).shrunken).sum() for site in SITES)
    assert numbers["false_alarm_rate", "across sites"].value == above / (4 * 39)
    assert numbers["false_alarm_rate", "within sites"].value == pytest.approx(above / (4 * 39))


def test_the_card_of_every_site_has_it():
    orders, told = {}, Told()

    def take(site, order):
        orders[site] = order
        return good_delivery(site, order)

    done = calibrated(delivery=dict.fromkeys(SITES, take), tell=told)
    study_card = orders["anna"].card
    assert {order.card for order in orders.values()} == {study_card}
    assert FederatedCalibration.model_validate_json(done.calibration.model_dump_json()) == done.calibration
    assert model_card(orders["anna"].study, done).calibration == done.calibration
    assert model_card(orders["anna"].study, done).model_dump_json() == study_card
    (event,) = told.of("calibrated")
    assert event["achieved"]["anna"] == f"{of_site(done.calibration, 'anna').achieved['shrunken'].above} of 39 above"


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (1, 3, 0, 2)])
def test_the_order_of_arrival_does_not_matter(found, order):
    assert calibrated(order=order).calibration == found


ERROR = Error(1000, "DataError at berta")
WITHHELD = "its policy lets no histograms out (policy.histograms)"
OVERLAPPING = Histogram(((3, 9, 39), (8, 12, 1)))
ABOVE_ALL = Histogram(((3, 9, 39), (600, len(EDGES), 1)))
NONE = Histogram(())
OTHERS = {
    "an error": (lambda s, o: ERROR, "reports DataError"),
    "another message": (lambda s, o: o, "other parts"),
    "another site": (lambda s, o: good_histogram("anna", o), "answers as another site"),
    "another model": (lambda s, o: good_histogram(s, o, model_hash="0" * 64), "answers as another model hash"),
    "another study": (lambda s, o: good_histogram(s, o, study_digest="0" * 64), "answers as another study digest"),
    "another n": (lambda s, o: good_histogram(s, o, n=41), "another number of patients than its histogram has"),
    "overlapping cells": (lambda s, o: good_histogram(s, o, scores=OVERLAPPING), "cells of a histogram overlap"),
    "cells beyond": (lambda s, o: good_histogram(s, o, scores=ABOVE_ALL), "above the highest published edge"),
    "crowds": (
        lambda s, o: good_histogram(s, o, n=10**6, scores=Histogram(((3, 3, 10**6),))),
        "more patients than it can have",
    ),
    "withheld, and told": (lambda s, o: good_histogram(s, o, withheld="no"), "withholds a histogram, and tells one"),
    "withheld": (lambda s, o: good_histogram(s, o, n=0, scores=NONE, withheld=WITHHELD), WITHHELD),
    "another network": (lambda s, o: good_histogram(s, o, network="d" * 64), "another perceptual network"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_who_gives_no_histogram_that_counts_is_named_and_the_others_go_on(what):
    behaviour, reason = OTHERS[what]
    told = Told()
    done = calibrated(histograms={"berta": behaviour}, tell=told)
    assert done.delivered == SITES
    assert [site.site for site in done.calibration.sites] == ["anna", "clara", "dora"]
    assert done.calibration.reference.n == 3 * 40
    assert done.calibration.absent.keys() == {"berta"}
    assert reason in done.calibration.absent["berta"]
    assert told.of("calibrated")[0]["absent"] == done.calibration.absent
    number = next(figure.number for figure in done.calibration.figures if figure.where == "berta")
    assert number.value is None
    assert number.note.startswith("not estimable: ")


CHECKS = {
    "an error": (lambda s, o: ERROR, "reports DataError"),
    "another model": (lambda s, o: good_check(s, o, model_hash="0" * 64), "another model hash"),
    "other thresholds": (lambda s, o: good_check(s, o, pooled=o.pooled + 1), "answers other thresholds"),
    "too many above": (lambda s, o: good_check(s, o, above_local=40), "can't be true"),
    "fewer than none": (lambda s, o: good_check(s, o, above_local=-2), "can't be true"),
    "crowds": (lambda s, o: good_check(s, o, n=10**6), "more patients than it can have"),
    "more above more": (
        lambda s, o: good_check(s, o, above_local=0, above_pooled=0, above_shrunken=39),
        "above a higher threshold",
    ),
    "withheld, and told": (lambda s, o: good_check(s, o, withheld_test="no"), "withholds histograms of test patients"),
}


@pytest.mark.parametrize("what", CHECKS)
def test_who_gives_no_counts_that_can_be_keeps_its_thresholds_without_achieved_rates(what):
    behaviour, reason = CHECKS[what]
    done = calibrated(checks={"berta": behaviour})
    site = of_site(done.calibration, "berta")
    assert site.shrunken is not None
    assert site.achieved == {}
    assert done.calibration.absent["berta"].startswith("no achieved rates: ")
    assert reason in done.calibration.absent["berta"]
    assert of_site(done.calibration, "anna").achieved


def test_a_site_that_tells_some_of_its_counts_is_said_to_lack_the_others_alone():
    why = "its policy lets no such small counts out"
    few = {"above_local": ABSENT, "above_pooled": ABSENT, "withheld": why}
    done = calibrated(checks={"berta": lambda s, o: good_check(s, o, **few)})
    assert of_site(done.calibration, "berta").achieved.keys() == {"shrunken"}
    assert done.calibration.absent == {"berta": f"no rates of local, pooled: {why}"}
    rates = {f.where: f.number for f in done.calibration.figures if f.metric == "false_alarm_rate"}
    assert (rates["berta"].n_healthy, rates["berta"].note) == (39, "")
    few |= {"above_shrunken": ABSENT, "above_pooled": 9, "withheld": ""}
    done = calibrated(checks={"berta": lambda s, o: good_check(s, o, **few)})
    assert done.calibration.absent == {"berta": "no rates of local, shrunken: it doesn't say why"}
    rates = {f.where: f.number for f in done.calibration.figures if f.metric == "false_alarm_rate"}
    assert rates["berta"].note == "not estimable: it doesn't say why"


def test_a_site_with_one_class_is_not_estimable_and_never_averaged_in():
    done = calibrated(checks={"berta": lambda s, o: good_check(s, o, anomalous=NONE)})
    numbers = {(f.metric, f.where): f.number for f in done.calibration.figures}
    assert numbers["auroc", "berta"].value is None
    assert numbers["auroc", "berta"].note == "not estimable: no anomalous patients"
    assert "left out as not estimable: berta" in numbers["auroc", "within sites"].note
    assert numbers["detection_rate", "berta"].value is None


def test_where_nobody_tells_of_test_patients_there_are_no_figures_of_them():
    quiet = {"healthy": NONE, "anomalous": NONE, "withheld_test": "its policy"}
    done = calibrated(checks=dict.fromkeys(SITES, lambda s, o: good_check(s, o, **quiet)))
    assert {figure.metric for figure in done.calibration.figures} == {"false_alarm_rate"}
    assert of_site(done.calibration, "anna").achieved


def test_too_few_patients_for_the_rate_are_told():
    def few(site, order):
        return good_histogram(site, order, n=4, scores=Histogram.of(scores_of(site)[0][:4]))

    told = Told()
    done = calibrated(histograms=dict.fromkeys(SITES, few), tell=told)
    assert done.calibration.reference.pooled is None
    assert done.calibration.sites[0].local.note == "not enough patients: 4 of 19 needed"
    assert done.calibration.sites[0].shrunken is None
    assert told.of("calibrated")[0]["achieved"]["anna"] == "no threshold, too few patients"
    places = []

    def see(site, order):
        places.append((order.local, order.pooled, order.shrunken))
        return good_check(site, order)

    calibrated(histograms=dict.fromkeys(SITES, few), checks=dict.fromkeys(SITES, see))
    assert set(places) == {(ABSENT, ABSENT, ABSENT)}


def test_without_any_histogram_the_run_ends_well():
    done = calibrated(histograms=dict.fromkeys(SITES, lambda s, o: ERROR))
    assert done.calibration.reference is None
    assert done.calibration.absent.keys() == set(SITES)
    assert done.delivered == SITES


def test_a_run_that_goes_on_does_not_ask_again(tmp_path):
    checkpoints = Checkpoints(tmp_path, "d" * 64)

    with pytest.raises(KilledError):
        calibrated(on_round=killed_when(lambda progress: progress.calibration, checkpoints))

    def never(site, order):
        raise AssertionError

    again = calibrated(progress=checkpoints.load(), histograms=dict.fromkeys(SITES, never))
    assert again.calibration == calibrated().calibration
    assert again.delivered == SITES


def test_killed_before_it_asks_the_run_calibrates_when_it_is_started_again(tmp_path):
    checkpoints = Checkpoints(tmp_path, "d" * 64)

    with pytest.raises(KilledError):
        calibrated(on_round=killed_when(lambda progress: progress.closed, checkpoints))
    assert calibrated(progress=checkpoints.load()).calibration == calibrated().calibration


def test_the_best_model_is_asked_about_with_the_round_that_the_site_goes_on_from():
    orders = {}

    def see(site, order):
        orders[site] = order
        return good_histogram(site, order)

    done = calibrated(histograms=dict.fromkeys(SITES, see))
    assert {digest(order.model) for order in orders.values()} == {digest(done.best)}
    assert {order.base_round for order in orders.values()} == {1}
