"""Sites that answer at once and train nothing, well or otherwise."""

import numpy as np
from flwr.app import Error, Message
from flwr.clientapp import ClientApp
from hospitals import model_digest as digest

from ra_core.fixed_point import encode
from ra_core.messages import RoundOrder, RoundReply

SITES = ("anna", "berta", "clara", "dora")
COUNTS = dict(zip(SITES, (10, 200, 3000, 7), strict=True))


def good_reply(who, order, **changes):
    rng = np.random.default_rng([SITES.index(who), order.round])
    update = {name: encode(rng.normal(size=array.shape)) for name, array in sorted(order.model.items())}
    fields = {
        "site": who,
        "round": order.round,
        "study_digest": order.study.digest(),
        "model_hash": digest(order.model),
        "fingerprint": "f" * 64,
        "n_images": COUNTS[who],
        "n_patients": 3,
        "n_val": 5 + SITES.index(who),
        "n_declared": COUNTS[who] + 100,
        "n_used": COUNTS[who] + 99,
        "metrics": {"validation_error": 1.0 / order.round + 0.01 * SITES.index(who)},
        "update": update if order.steps else {},
    }
    return RoundReply(**fields | changes)


def answering_app(behaviour=None):
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
