"""Sites that answer at once and train nothing, well or otherwise."""

import numpy as np
from flwr.app import Error, Message
from flwr.clientapp import ClientApp
from hospitals import model_digest as digest

from ra_core.fixed_point import encode
from ra_core.messages import (
    ABSENT,
    CheckOrder,
    CheckReply,
    DeliveryOrder,
    DeliveryReply,
    HistogramOrder,
    HistogramReply,
    JoinOrder,
    JoinReply,
    RoundOrder,
    RoundReply,
)
from ra_core.thresholds import EDGES, Histogram

SITES = ("anna", "berta", "clara", "dora")
COUNTS = dict(zip(SITES, (10, 200, 3000, 7), strict=True))


HEAD = {"ledger_length": 1, "ledger_head": "e" * 64}


def counts(who):
    images = {"n_images": COUNTS[who], "n_patients": 3, "n_val": 5 + SITES.index(who)}
    return images | {"n_declared": COUNTS[who] + 100, "n_used": COUNTS[who] + 99}


def good_join(who, order, **changes):
    fields = {
        "site": who,
        "study_digest": order.study.digest(),
        "package_hash": order.package_hash,
        "anatomy": "brain",
        "modality": "MR",
        "n_val_patients": 2,
    }
    return JoinReply(**fields | counts(who) | HEAD | changes)


def good_reply(who, order, **changes):
    rng = np.random.default_rng([SITES.index(who), order.round])
    update = {name: encode(rng.normal(size=array.shape)) for name, array in sorted(order.model.items())}
    fields = {
        "site": who,
        "round": order.round,
        "study_digest": order.study.digest(),
        "model_hash": digest(order.model),
        "fingerprint": "f" * 64,
        "metrics": {"validation_error": 1.0 / order.round + 0.01 * SITES.index(who)},
        "update": update if order.steps else {},
    }
    return RoundReply(**fields | counts(who) | HEAD | changes)


def good_delivery(who, order, **changes):
    return DeliveryReply(**{"site": who, "model_hash": order.model_hash} | HEAD | changes)


def scores_of(who):
    """Of healthy patients, the first half and the second; and of test patients by class."""
    rng = np.random.default_rng([7, SITES.index(who)])
    scale = 1 + SITES.index(who) / 4
    return scale * rng.gamma(4, size=40), scale * rng.gamma(4, size=39), rng.gamma(4, size=9), rng.gamma(9, size=11)


def good_histogram(who, order, **changes):
    found = Histogram.of(scores_of(who)[0])
    fields = {"site": who, "study_digest": order.study.digest(), "model_hash": digest(order.model)}
    return HistogramReply(**fields | HEAD | {"network": "", "n": found.n, "withheld": "", "scores": found} | changes)


def good_check(who, order, **changes):
    _, second, healthy, anomalous = scores_of(who)
    fields = {"site": who, "study_digest": order.study.digest(), "model_hash": digest(order.model), "n": len(second)}
    for way in ("local", "pooled", "shrunken"):
        place = getattr(order, way)
        above = ABSENT if place == ABSENT else int((second > EDGES[place]).sum())
        fields |= {way: place, f"above_{way}": above}
    tests = {"healthy": Histogram.of(healthy), "anomalous": Histogram.of(anomalous)}
    return CheckReply(**fields | HEAD | tests | {"withheld": "", "withheld_test": ""} | changes)


def answering_app(behaviour=None, joining=None, delivery=None, histograms=None, checks=None):
    """A ClientApp whose sites answer well, but for those with a behaviour: (site, order) -> reply or error."""
    client = ClientApp()

    def answer(message, context, kind, behaviour, good):
        site = context.node_config["name"]
        reply = (behaviour or {}).get(site, good)(site, kind.from_record(message.content))
        return Message(reply if isinstance(reply, Error) else reply.to_record(), reply_to=message)

    @client.query()
    def join(message, context):
        return answer(message, context, JoinOrder, joining, good_join)

    @client.train()
    def train(message, context):
        return answer(message, context, RoundOrder, behaviour, good_reply)

    @client.query("histogram")
    def histogram(message, context):
        return answer(message, context, HistogramOrder, histograms, good_histogram)

    @client.query("check")
    def check(message, context):
        return answer(message, context, CheckOrder, checks, good_check)

    @client.query("deliver")
    def deliver(message, context):
        return answer(message, context, DeliveryOrder, delivery, good_delivery)

    return client
