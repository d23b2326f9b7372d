"""The round loop against sites that answer well, badly, late or not at all; no site trains anything here."""

import itertools
import math

import numpy as np
import pytest
import torch
from flwr.app import Error, Message
from flwr.clientapp import ClientApp

from ra_core.config import StudyConfig
from ra_core.errors import QuorumError
from ra_core.fixed_point import encode
from ra_core.hashing import tensor_digest
from ra_core.messages import RoundOrder, RoundReply
from server.checkpoint import load_progress, save_progress
from server.strategy import FederatedAveraging, Progress
from simulation.engine import InProcessGrid

SITES = ("anna", "berta", "clara", "dora")
COUNTS = dict(zip(SITES, (10, 200, 3000, 7), strict=True))


def digest(model):
    return tensor_digest({name: torch.from_numpy(array) for name, array in model.items()})


def start():
    rng = np.random.default_rng(0)
    return {"encoder.w": rng.normal(size=(3, 2)).astype(np.float32), "decoder.b": np.zeros(4, np.float32)}


def good_reply(site, order, **changes):
    rng = np.random.default_rng([SITES.index(site), order.round])
    update = {name: encode(rng.normal(size=array.shape)) for name, array in sorted(order.model.items())}
    fields = {
        "site": site,
        "round": order.round,
        "study_digest": order.study.digest(),
        "model_hash": digest(order.model),
        "fingerprint": "f",
        "n_images": COUNTS[site],
        "n_patients": 3,
        "n_val": 5 + SITES.index(site),
        "metrics": {"validation_error": 1.0 / order.round + 0.01 * SITES.index(site)},
        "update": update if order.steps else {},
    }
    return RoundReply(**fields | changes)


def app(behaviour=None):
    """A ClientApp whose sites answer well, but for those with a behaviour: (site, order) -> reply or error."""
    client = ClientApp()

    @client.train()
    def train(message, context):
        site = context.node_config["name"]
        order = RoundOrder.from_record(message.content)
        reply = (behaviour or {}).get(site, good_reply)(site, order)
        if isinstance(reply, Error):
            return Message(reply, reply_to=message)
        return Message(reply.to_record(), reply_to=message)

    return client


def study(**federation):
    return StudyConfig.model_validate({"federation": {"rounds": 3, "local_steps": 10} | federation})


def federate(
    behaviour=None, order=None, progress=None, on_round=lambda _: None, selectable=lambda _: True, **federation
):
    grid = InProcessGrid(app(behaviour), [{"name": site} for site in SITES], order=order)
    strategy = FederatedAveraging(grid, study(**federation), selectable, on_round, poll_seconds=0)
    return strategy.run(progress or Progress(start()))


def test_a_round_is_the_weighted_mean_of_the_updates():
    done = federate(rounds=1)
    order = RoundOrder(study(rounds=1), 1, 0, 10, 0.0, start())
    replies = [good_reply(site, order) for site in SITES]
    for name, before in start().items():
        mean = np.average([r.update[name] * 2.0**-24 for r in replies], axis=0, weights=[r.n_images for r in replies])
        np.testing.assert_allclose(done.model[name], before + mean, rtol=1e-5, atol=1e-6)


def test_24_orders_of_reply_give_the_same_bits():
    results = {digest(federate(order=order).model) for order in itertools.permutations(range(4))}
    assert len(results) == 1


def test_the_closing_exchange_lets_the_last_round_win():
    done = federate()
    assert [record.round for record in done.records] == [1, 2, 3, 4]
    assert done.best_round == 3
    assert digest(done.best) == digest(done.model)
    assert done.records[-1].n_images == 0


def test_only_selectable_rounds_can_win():
    assert federate(selectable=lambda step: step == 10).best_round == 1
    nothing = federate(selectable=lambda _: False)
    assert nothing.best == {}
    assert math.isinf(nothing.best_error)


def test_validation_error_is_weighted_by_validation_images():
    record = federate(rounds=1).records[0]
    expected = np.average([1 + 0.01 * i for i in range(4)], weights=[5, 6, 7, 8])
    assert record.validation_error == pytest.approx(expected)


BAD = {
    "wrong shape": lambda s, o: good_reply(s, o, update={n: encode(np.zeros((2, 2))) for n in o.model}),
    "a shape that would broadcast": lambda s, o: good_reply(s, o, update={n: encode(np.zeros(1)) for n in o.model}),
    "missing array": lambda s, o: good_reply(s, o, update={"encoder.w": encode(np.zeros((3, 2)))}),
    "unknown array": lambda s, o: good_reply(
        s, o, update=dict(good_reply(s, o).update) | {"encoder.x": encode(np.zeros(1))}
    ),
    "beyond the range": lambda s, o: good_reply(
        s, o, update={n: np.full(a.shape, 2**30, np.int32) for n, a in o.model.items()}
    ),
    "floats": lambda s, o: good_reply(s, o, update={n: np.zeros(a.shape, np.float32) for n, a in o.model.items()}),
    "zero images": lambda s, o: good_reply(s, o, n_images=0),
    "negative images": lambda s, o: good_reply(s, o, n_images=-4),
    "absurd images": lambda s, o: good_reply(s, o, n_images=2**60),
    "more patients than images": lambda s, o: good_reply(s, o, n_patients=10**6),
    "no validation images": lambda s, o: good_reply(s, o, n_val=0),
    "NaN metric": lambda s, o: good_reply(s, o, metrics={"validation_error": math.nan}),
    "no validation error": lambda s, o: good_reply(s, o, metrics={}),
    "another round": lambda s, o: good_reply(s, o, round=o.round + 1),
    "another model": lambda s, o: good_reply(s, o, model_hash="0" * 64),
    "another study": lambda s, o: good_reply(s, o, study_digest="0" * 64),
    "an error": lambda s, o: Error(code=1000, reason="NonFiniteError"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_answer_is_rejected_and_the_rest_goes_on(what):
    done = federate({"berta": BAD[what]}, quorum=0.75)
    for record in done.records[:-1]:
        assert record.answered == ("anna", "clara", "dora")
        assert len(record.rejected) == 1
        who, why = next(iter(record.rejected.items()))
        assert why
        assert who in ("berta", "node 1001")
    assert all(np.isfinite(array).all() for array in done.model.values())
    assert done.records[0].n_images == 10 + 3000 + 7


def test_a_name_can_answer_once():
    done = federate({"berta": lambda s, o: good_reply("anna", o)}, quorum=0.75)
    assert done.records[0].answered == ("anna", "clara", "dora")


def test_without_a_quorum_the_run_stops_and_says_who_and_why():
    with pytest.raises(QuorumError, match=r"round 1: 3 of 4 .*berta: .*count"):
        federate({"berta": BAD["zero images"]})


def test_a_run_resumed_after_any_round_gives_the_same_bits(tmp_path):
    whole = federate()
    for stop in (1, 2, 3):
        path = tmp_path / f"{stop}.safetensors"

        class KilledError(Exception):
            pass

        def save(progress, path=path, stop=stop, killed=KilledError):
            save_progress(path, progress, study().digest())
            if progress.round == stop:
                raise killed

        with pytest.raises(KilledError):
            federate(on_round=save)
        resumed = federate(progress=load_progress(path, study().digest()))
        assert digest(resumed.model) == digest(whole.model)
        assert digest(resumed.best) == digest(whole.best)
        assert resumed.records == whole.records


def test_a_site_cannot_change_what_others_receive():
    def vandal(site, order):
        for array in order.model.values():
            if array.flags.writeable:
                array[:] = 7
        return good_reply(site, order)

    done = federate({"anna": vandal}, quorum=0.75, rounds=1)
    assert {"berta", "clara", "dora"} <= set(done.records[0].answered)
