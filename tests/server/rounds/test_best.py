"""Which model wins, when training ends early, and who gets the model."""

import pytest
from answering import SITES, good_delivery, good_reply
from federating import KilledError, Told, federate, killed_when
from flwr.app import Error
from hospitals import model_digest as digest

from server.rounds.checkpoint import Checkpoints


def errors(*by_model):
    """Sites whose validation error of the model after 0, 1, 2, … rounds is this."""

    def judge(site, order):
        return good_reply(site, order, metrics={"validation_error": by_model[order.round - 1]})

    return dict.fromkeys(SITES, judge)


@pytest.mark.parametrize(
    ("by_model", "best"),
    [((9.0, 5.0, 4.0, 3.0, 6.0, 7.0), 3), ((9.0, 5.0, 4.0, 3.0, 2.5, 2.0), 5), ((1.0, 5.0, 4.0, 3.0, 2.5, 2.0), 0)],
    ids=["the third", "the last", "the first, untrained"],
)
def test_the_lowest_validation_error_wins_wherever_it_is(by_model, best):
    models = []
    done = federate(errors(*by_model), rounds=5, on_round=lambda progress: models.append(digest(progress.model)))
    assert (done.best_round, done.best_error) == (best, by_model[best])
    if best:
        assert digest(done.best) == models[best - 1]


def test_training_ends_early_without_a_better_model_and_its_last_model_is_judged_too():
    done = federate(errors(9.0, 3.0, 4.0, 5.0, 2.0), rounds=20, patience=2)
    assert [(record.round, record.closing) for record in done.records] == [
        (1, False),
        (2, False),
        (3, False),
        (4, False),
        (5, True),
    ]
    assert (done.round, done.best_round) == (4, 4)


def test_patience_begins_with_the_first_model_that_may_be_selected():
    done = federate(errors(*[9.0] * 6), rounds=5, patience=1, selectable=lambda step: step >= 30)
    assert (done.round, done.best_round) == (5, 3)


def test_a_run_that_ended_early_stays_so_when_it_is_started_again(tmp_path):
    checkpoints = Checkpoints(tmp_path, "d" * 64)
    done = federate(errors(9.0, 3.0, 4.0, 5.0, 2.0), rounds=20, patience=2, on_round=checkpoints.save)
    again = federate({}, progress=checkpoints.load(), rounds=20, patience=2)
    assert again.records == done.records
    assert digest(again.best) == digest(done.best)


def test_the_best_model_goes_to_every_site_with_the_round_that_the_site_goes_on_from():
    orders = {}

    def take(site, order):
        orders[site] = order
        return good_delivery(site, order)

    def away(site, order):
        return Error(5, "Node Unavailable") if order.round in (2, 3) else good_reply(site, order)

    told = Told()
    done = federate({"berta": away}, delivery=dict.fromkeys(SITES, take), quorum=0.75, tell=told)
    assert (done.best_round, done.delivered, done.undelivered) == (3, SITES, {})
    assert {site: order.base_round for site, order in orders.items()} == {"anna": 3, "berta": 1, "clara": 3, "dora": 3}
    assert {order.model_hash for order in orders.values()} == {digest(done.best)}
    assert digest(orders["anna"].model) == digest(done.best)
    assert [event["model_hash"] for event in told.of("delivered")] == [digest(done.best)] * 4


BAD = {
    "an error": (lambda s, o: Error(1000, "StateError at berta"), "reports StateError"),
    "another model": (lambda s, o: good_delivery(s, o, model_hash="0" * 64), "another model"),
    "another site": (lambda s, o: good_delivery("anna", o), "answers as 'anna', which it is not"),
    "another message": (lambda s, o: o, "other parts"),
}


@pytest.mark.parametrize("what", BAD)
def test_who_did_not_store_it_is_named_and_gets_it_when_the_run_is_started_again(tmp_path, what):
    behaviour, reason = BAD[what]
    checkpoints, told = Checkpoints(tmp_path, "d" * 64), Told()
    done = federate({}, delivery={"berta": behaviour}, on_round=checkpoints.save, tell=told)
    assert done.delivered == ("anna", "clara", "dora")
    ((site, why),) = done.undelivered.items()
    assert site == "berta"
    assert reason in why
    assert told.of("not_delivered") == [{"event": "not_delivered", "site": "berta", "reason": why}]

    asked = []

    def take(site, order):
        asked.append(site)
        return good_delivery(site, order)

    def never(site, order):
        raise AssertionError

    behaviours = {"behaviour": dict.fromkeys(SITES, never), "delivery": dict.fromkeys(SITES, take)}
    again = federate(progress=checkpoints.load(), on_round=checkpoints.save, **behaviours)
    assert asked == ["berta"]
    assert (again.delivered, again.undelivered) == (SITES, {})
    assert checkpoints.load().delivered == SITES


def test_killed_before_the_delivery_the_run_delivers_when_it_is_started_again(tmp_path):
    checkpoints = Checkpoints(tmp_path, "d" * 64)

    with pytest.raises(KilledError):
        federate(on_round=killed_when(lambda progress: progress.closed, checkpoints))
    assert federate(progress=checkpoints.load()).delivered == SITES
