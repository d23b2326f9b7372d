"""Lines for people claim no more than there is."""

import pytest

from ra_core.scorings import SCORINGS
from ra_core.thresholds import Histogram
from ra_core.thresholds.federation import ByClass, false_alarms, figures
from ra_core.thresholds.record import Achieved, FederatedCalibration
from ra_core.thresholds.told import told_of_metric, told_of_site


def by_class(healthy, anomalous):
    return ByClass(Histogram.of(healthy), Histogram.of(anomalous), 2.0)


@pytest.fixture(scope="module")
def found():
    tested = {
        "a": by_class([1.0, 1.5, 2.5], [3.0, 1.2, 2.0]),
        "b": by_class([1.0, 1.5], []),
        "c": by_class([1.0, 1.4], [3.0]),
    }
    rates = {"a": Achieved.of(2.0, 1, 20), "c": Achieved.of(2.0, 1, 30)}
    return FederatedCalibration(
        scoring=next(scoring for scoring in SCORINGS if scoring.name == "residual"),
        unit="study",
        rate=0.05,
        reference=None,
        healthy=(),
        sites=(),
        figures=figures(tested, {"d": "its policy"}) + false_alarms(rates, dict.fromkeys("bd", "its policy")),
    )


def test_a_line_says_of_how_many_sites_and_patients_each_of_its_numbers_is(found):
    assert told_of_metric(found, "false_alarm_rate") == (
        "false alarms at the sites' thresholds: within sites 0.04 (0.00 to 0.12), mean of 2 of 4 sites "
        "(left out: b, d), 50 healthy and 0 anomalous patients; "
        "across sites 0.04 (0.00 to 0.14), 50 healthy and 0 anomalous patients"
    )
    line = told_of_metric(found, "auroc")
    assert "mean of 2 of 4 sites (left out: b, d), 5 healthy and 4 anomalous patients; across sites " in line
    assert line.endswith(", 7 healthy and 4 anomalous patients")


def test_a_mean_has_no_interval_where_a_sites_own_means_nothing(found):
    assert "within sites 0.83, mean of 2" in told_of_metric(found, "auroc")


def test_what_a_sites_number_is_worth_stands_beside_it_and_not_in_its_place(found):
    assert "AUROC: 1.00 (1.00 to 1.00); the interval means nothing: these patients show no spread" in (
        list(told_of_site(found, "c"))
    )
    assert "AUROC: not estimable: no anomalous patients" in list(told_of_site(found, "b"))


def test_a_bound_is_never_rounded_to_nothing(found):
    small = tuple(
        figure.model_copy(update={"number": figure.number.model_copy(update={"bound": 0.0002})})
        for figure in found.figures
    )
    line = told_of_metric(found.model_copy(update={"figures": small}), "auroc")
    assert line.count("cells may have moved it by 0.001") == 2
