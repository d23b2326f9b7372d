"""Bounds on updates, and how they are combined; each kind of bad answer is in test_strategy.py."""

import math
from dataclasses import replace

import numpy as np
import pytest
from answering import COUNTS, SITES, good_reply
from federating import federate, start, study
from hospitals import model_digest as digest

from ra_core.clipping import clipped, update_norm
from ra_core.fixed_point import decode
from server.rounds.orders import Orders
from server.rounds.progress import Progress


def scaled(factor):
    def behaviour(site, order):
        reply = good_reply(site, order)
        return replace(reply, update={name: (codes * factor).astype(np.int32) for name, codes in reply.update.items()})

    return behaviour


def small(site, order):
    return scaled(0.001)(site, order)


def updates(behaviour=good_reply):
    order = Orders(study(), "run").next_round(Progress(start()), 10)
    return {site: behaviour(site, order).update for site in SITES}


def mean_of(found, weights):
    return {
        name: np.average([decode(update[name]) for update in found.values()], axis=0, weights=weights)
        for name in start()
    }


def test_an_update_a_thousand_times_too_large_is_rejected_by_its_norm():
    behaviours = dict.fromkeys(SITES, small) | {"berta": good_reply}
    done = federate(behaviours, quorum=0.75, max_update_norm=0.1)
    for record in done.records[:-1]:
        assert record.answered == ("anna", "clara", "dora")
        assert "norm is" in record.missing["berta"]
        assert "more than 0.1" in record.missing["berta"]
    assert digest(done.model) != digest(federate(behaviours, quorum=0.75).model)


def test_a_bound_may_be_left_out():
    assert federate(max_update_norm=None, rounds=1).records[0].answered == SITES


def test_clipping_shortens_updates_and_keeps_their_weights():
    done = federate(clip_update_norm=0.5, rounds=1)
    short = {site: clipped(update, 0.5) for site, update in updates().items()}
    assert all(update_norm(update) > 0.5 for update in updates().values())
    mean = mean_of(short, [COUNTS[site] for site in SITES])
    for name, before in start().items():
        np.testing.assert_allclose(done.model[name], before + mean[name], rtol=1e-6, atol=1e-7)


def test_with_differential_privacy_all_sites_weigh_alike_whatever_counts_they_tell():
    def private(site, order):
        spent = {"epsilon": 1.0, "delta": 1e-5, "noise_multiplier": 1.0} if order.steps else {}
        return good_reply(site, order, **spent)

    done = federate(dict.fromkeys(SITES, private), dp={"noise_multiplier": 1.0}, rounds=1)
    assert done.records[0].images == COUNTS
    mean = mean_of(updates(), None)
    for name, before in start().items():
        np.testing.assert_allclose(done.model[name], before + mean[name], rtol=1e-6, atol=1e-7)
    errors = [metrics["validation_error"] for metrics in done.records[0].by_site.values()]
    assert done.records[0].validation_error == pytest.approx(np.mean(errors))


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"noise_multiplier": 0.9}, "less privacy than the study asks for"),
        ({"delta": 2e-5}, "less privacy than the study asks for"),
        ({"epsilon": 3.1}, "less privacy than the study asks for"),
        ({"epsilon": math.nan}, "can't be true"),
        ({"delta": 0.0}, "can't be true"),
        ({"noise_multiplier": math.inf}, "can't be true"),
    ],
)
def test_an_answer_with_less_privacy_than_the_study_is_rejected(told, why):
    spent = {"epsilon": 3.0, "delta": 1e-5, "noise_multiplier": 1.0}

    def behaviour(**changes):
        return lambda site, order: good_reply(site, order, **spent | changes)

    behaviours = dict.fromkeys(SITES, behaviour()) | {"berta": behaviour(**told)}
    done = federate(behaviours, dp={"noise_multiplier": 1.0, "epsilon": 3.0}, rounds=1, quorum=0.75)
    for record in done.records:  # the closing exchange tells it too
        assert record.answered == ("anna", "clara", "dora")
        assert why in record.missing["berta"]


def test_clipping_lets_nothing_in_that_is_out_of_range():
    def far(site, order):
        return good_reply(site, order, update={n: np.full(a.shape, 2**30, np.int32) for n, a in order.model.items()})

    record = federate({"berta": far}, quorum=0.75, clip_update_norm=1.0, rounds=1).records[0]
    assert "beyond 8" in record.missing["berta"]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_a_trimmed_mean_leaves_the_ends_out_and_no_order_matters(order):
    done = federate(aggregation="trimmed_mean", trimmed_share=0.25, rounds=1, order=order)
    for name, before in start().items():
        values = np.sort([decode(update[name]) for update in updates().values()], axis=0)[1:-1]
        np.testing.assert_allclose(done.model[name], before + values.mean(axis=0), rtol=1e-6, atol=1e-7)
    assert done.records[0].n_images == sum(COUNTS.values())


def test_momentum_and_adam_move_the_model_otherwise():
    models = [
        digest(federate(optimizer=optimizer).model)
        for optimizer in ({"name": "none"}, {"name": "momentum"}, {"name": "adam", "learning_rate": 0.01})
    ]
    assert len(set(models)) == 3
