"""Federations in one process, of sites that train nothing or in earnest: the round loop alone, without its app."""

import numpy as np
from answering import SITES, answering_app
from flwr.app import Context, Message, RecordDict

import client.app as client_app
from client.ledger.line import Entry
from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from server.rounds.progress import Progress
from server.rounds.strategy import FederatedAveraging
from simulation.engines import InProcessGrid


class KilledError(Exception):
    """What a test breaks a run off with."""


def killed_when(reached, checkpoints):
    """For `on_round`: saves what there is, and breaks the run off once `reached(progress)`."""

    def save(progress):
        checkpoints.save(progress)
        if reached(progress):
            raise KilledError

    return save


class Told(list):
    """Takes events as the server tells them."""

    def __call__(self, event, **fields):
        self.append({"event": event} | fields)

    def of(self, kind):
        return [event for event in self if event["event"] == kind]


def answer_of(settings, order, kind="train", run_config=None):
    """What a node with these settings answers to an order."""
    InProcessGrid(client_app.app, [])  # a message needs a run
    message = Message(order.to_record(), dst_node_id=1, message_type=kind)
    return client_app.app(message, Context(1, 1, settings, RecordDict(), run_config or {}))


def note_joined(ledger, order):
    """Have a site's ledger say that it has joined the run of an order, which else it doesn't answer."""
    with ledger.opened() as book:
        if (order.run, order.study.digest()) not in book.answered.joined:
            told = {"facts": {}, "metrics": {}, "tensors": [], "norm": 0.0, "bytes": 0, "sha256": "", "withheld": []}
            book.append(Entry(kind="join", what=told, policy="", run=order.run, study=order.study.digest()))


def start():
    rng = np.random.default_rng(0)
    return {"encoder.w": rng.normal(size=(3, 2)).astype(np.float32), "decoder.b": np.zeros(4, np.float32)}


def study(dp=None, calibration=None, **federation):
    federation = {"rounds": 3, "local_steps": 10} | federation
    return StudyConfig.model_validate({"federation": federation, "dp": dp, "calibration": calibration})


def federate(
    behaviour=None,
    order=None,
    progress=None,
    on_round=lambda _: None,
    selectable=lambda _: True,
    connected=SITES,
    agreed=SITES,
    joining=None,
    delivery=None,
    histograms=None,
    checks=None,
    tell=lambda event, **fields: None,
    registered=None,
    **federation,
):
    app = answering_app(behaviour, joining, delivery, histograms, checks)
    grid = InProcessGrid(app, [{"name": site} for site in connected], order=order)
    settings = {"registered": registered, "tell": tell}
    strategy = FederatedAveraging(grid, study(**federation), agreed, selectable, on_round, **settings)
    return strategy.run(progress or Progress(start()))


def first_model(study):
    method = build_method(study.method, study.preprocessing.size, study.seed)
    return {name: tensor.numpy().copy() for name, tensor in shared_tensors(method, study.federation).items()}


def train_hospitals(hospitals, study, order=None, on_round=lambda _: None, app=client_app.app, progress=None, **more):
    """A whole federation of real sites, delivery included."""
    settings = [node.settings(RuntimeConfig(threads=1)) for node in hospitals]
    grid = InProcessGrid(app, settings, order=order)
    method = build_method(study.method, study.preprocessing.size, study.seed)
    names = [node.site for node in hospitals]
    strategy = FederatedAveraging(grid, study, names, method.ready_for_selection, on_round, **more)
    return strategy.run(progress or Progress(first_model(study)))
