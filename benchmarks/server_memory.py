"""Peak memory of the ServerApp, whole and as it is, with sites that answer at once and train nothing.

Usage: server_memory.py SITES STUDY; prints MiB after the imports, MiB at the peak, and the
server's seconds of an exchange in the mean.
"""

import logging
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from looks import looking, memory, round_seconds

from ra_core.config import StudyConfig
from ra_core.daemons.events import read_events
from ra_core.fixed_point import encode
from ra_core.hashing import array_digest
from ra_core.messages import DeliveryOrder, DeliveryReply, JoinOrder, JoinReply, RoundOrder, RoundReply
from ra_core.settings import load_config
from server.app import app as server_app
from simulation.engines import InProcessGrid

COUNTS = {"n_images": 100, "n_patients": 50, "n_val": 20, "n_declared": 120, "n_used": 120}
HEAD = {"ledger_length": 1, "ledger_head": "e" * 64}

site = ClientApp()


class Grid(InProcessGrid):
    """Answers all that it is asked for, as Flower's does, where the other answers one at a time.

    Attributes:
        training: seconds that the sites' answers to rounds have taken, and are none of the server's.
    """

    training = 0.0

    def pull_messages(self, message_ids):
        names = list(message_ids)
        return [reply for _ in names for reply in super(Grid, self).pull_messages(names)]

    def _answer(self, message):
        begun = time.perf_counter()
        reply = super()._answer(message)
        if message.metadata.message_type == "train":
            self.training += time.perf_counter() - begun
        return reply


def main():
    count, study_file = int(sys.argv[1]), Path(sys.argv[2])
    logging.disable()
    names = [f"s{number}" for number in range(count)]
    grid = Grid(site, [{"name": name} for name in names])
    before = memory()
    with tempfile.TemporaryDirectory() as folder, sampled() as peak:
        run = {"study-file": str(study_file), "folder": folder, "sites": ",".join(names)}
        server_app(grid=grid, context=Context(1, 1, {}, RecordDict(), run))
        study = load_config(study_file, StudyConfig)
        seconds = round_seconds(read_events(Path(folder) / "events.jsonl")[0])
    if len(seconds) != study.federation.rounds + 1:
        raise SystemExit(f"{len(seconds)} exchanges")
    print(before, peak[0], (sum(seconds) - grid.training) / len(seconds))


@contextmanager
def sampled():
    """A list with the peak of this process' memory within, as seen a hundred times a second."""
    peak = [0.0]

    def look():
        peak[0] = max(peak[0], memory())

    with looking(look, 0.01):
        yield peak


@lru_cache(maxsize=1)
def update(number, shapes):
    """Noise, the same from all sites of a round: it is quick, and each answer has its own copy all the same."""
    rng = np.random.default_rng(number)
    return {name: encode(rng.normal(scale=1e-3, size=shape)) for name, shape in shapes}


def answer(reply, message):
    return Message(reply.to_record(), reply_to=message)


@site.query()
def join(message, context):
    order = JoinOrder.from_record(message.content)
    facts = {"study_digest": order.study.digest(), "package_hash": order.package_hash}
    about = {"site": context.node_config["name"], "anatomy": "brain", "modality": "MR", "n_val_patients": 20}
    return answer(JoinReply(**about, **facts, **COUNTS, **HEAD), message)


@site.train()
def train(message, context):
    order = RoundOrder.from_record(message.content)
    shapes = tuple((name, array.shape) for name, array in order.model.items())
    reply = RoundReply(
        site=context.node_config["name"],
        round=order.round,
        study_digest=order.study.digest(),
        model_hash=array_digest(order.model),
        fingerprint="f" * 64,
        metrics={"validation_error": 1 / order.round},
        update=update(order.round, shapes) if order.steps else {},
        **COUNTS,
        **HEAD,
    )
    return answer(reply, message)


@site.query("deliver")
def deliver(message, context):
    order = DeliveryOrder.from_record(message.content)
    return answer(DeliveryReply(site=context.node_config["name"], model_hash=order.model_hash, **HEAD), message)


if __name__ == "__main__":
    main()
