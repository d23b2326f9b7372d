import pytest
from pydantic import ValidationError

from ra_core.scorings import SCORINGS
from ra_core.thresholds import Histogram, conformal_threshold
from ra_core.thresholds.figures import auroc, share_interval
from ra_core.thresholds.record import Achieved, FederatedCalibration, Figure, SiteThresholds
from ra_core.thresholds.shrinkage import consortium

PLAIN = next(scoring for scoring in SCORINGS if scoring.name == "residual")
STANDARDISED = next(scoring for scoring in SCORINGS if scoring.name == "standardised_paper")
SCORES = [1.0 + place / 40 for place in range(40)]


def record(**changes):
    healthy = Histogram.of(SCORES, 5)
    low, high = share_interval(1, 20)
    site = SiteThresholds(
        site="north",
        local=conformal_threshold(healthy.highest(), 0.05, "study"),
        shrunken=1.9,
        achieved={"shrunken": Achieved(threshold=1.9, above=1, n=20, low=low, high=high)},
    )
    fields = {
        "scoring": SCORINGS[0],
        "unit": "study",
        "rate": 0.05,
        "perceptual_net": "alex",
        "network": "d" * 64,
        "reference": consortium([SCORES], 0.05),
        "healthy": healthy.cells,
        "sites": (site,),
        "figures": (Figure(metric="auroc", where="north", number=auroc(healthy, healthy)),),
        "absent": {"east": "not enough patients: 3 of 19 needed"},
    }
    return FederatedCalibration(**fields | changes)


def test_it_comes_back_from_a_card_as_it_was():
    found = record()
    assert FederatedCalibration.model_validate_json(found.model_dump_json()) == found


def test_its_histogram_is_that_of_all_healthy_scores():
    assert record().histogram == Histogram.of(SCORES, 5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"edges": "log50-1"}, "'log50-1' are not ours"),
        ({"healthy": ((5, 4, 1),)}, "out of range"),
        ({"healthy": ((5, 5, 1), (4, 4, 1))}, "out of order"),
        ({"healthy": ((5, 5, 0),)}, "empty"),
        ({"rate": 1.0}, "rate"),
        ({"unit": "pixel"}, "unit"),
        ({"colour": "red"}, "colour"),
        ({"reference_images": 9}, "reference_images belongs to a standardised scoring"),
        ({"scoring": STANDARDISED}, "reference_images belongs to a standardised scoring"),
        ({"perceptual_net": None}, "perceptual_net and network belong to a perceptual scoring"),
        ({"scoring": PLAIN}, "perceptual_net and network belong to a perceptual scoring"),
        ({"network": "d"}, "network"),
    ],
)
def test_what_cant_be_is_refused(changes, told):
    with pytest.raises(ValidationError, match=told):
        record(**changes)


@pytest.mark.parametrize("changes", [{"n": 0}, {"above": -1}, {"threshold": -1.0}])
def test_an_achieved_rate_is_of_patients(changes):
    with pytest.raises(ValidationError):
        Achieved(**{"threshold": 1.0, "above": 1, "n": 20, "low": 0.0, "high": 0.2} | changes)


def test_long_names_of_foreign_edges_are_not_repeated_in_full():
    with pytest.raises(ValidationError) as caught:
        record(edges="x" * 500)
    assert "x" * 21 not in caught.value.errors()[0]["msg"]
