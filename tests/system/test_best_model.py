"""Over real processes: the model that healthy validation images like best is the one that every site gets."""

import pytest
from faulty import Answering

from client.models import models

pytestmark = pytest.mark.night

NAMES = ("anna", "berta")
LOSSES = {
    "falls-and-rises": ([0.9, 0.8, 0.7, 0.5, 0.6, 0.65], 3),
    "falls-to-the-end": ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 5),
}
"""By run: the validation error told in each exchange, where the first judges the initial model and the closing one the
last; and the round whose model is best."""

FEDERATION = {"rounds": 5}


def answers():
    told = {}
    for run, (losses, _) in LOSSES.items():
        exchanges = [*range(1, FEDERATION["rounds"] + 1), "closing"]
        told |= {f"{run} {exchange}": f"error:{loss}" for exchange, loss in zip(exchanges, losses, strict=True)}
    return told


class Telling(Answering):
    """Every site tells the errors above."""

    answers = dict.fromkeys(NAMES, answers())


@pytest.fixture(scope="module")
def federation(site_root, tmp_path_factory):
    with Telling(tmp_path_factory.mktemp("best"), site_root, NAMES) as federation:
        federation.study(**FEDERATION)
        yield federation.up()


@pytest.mark.parametrize("name", LOSSES)
def test_the_round_with_the_lowest_error_wins_and_the_last_one_can(federation, name):
    federation.finish(federation.command("run", "study.yaml", "--name", name))
    result, (losses, best) = federation.result(name), LOSSES[name]
    assert (result["best_round"], result["best_error"]) == (best, pytest.approx(min(losses)))
    assert [found["validation_error"] for found in result["rounds"]] == pytest.approx(losses)
    assert (result["model_hash"] == result["last_model_hash"]) == (best == FEDERATION["rounds"])
    for site in NAMES:
        cards = [stored.card for stored in models(federation.state(site))]
        assert (result["model_hash"], best) in [(card.model_hash, card.selected) for card in cards]
