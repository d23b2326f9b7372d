"""A site's replies as they may be, for the tests of what becomes of each field."""

import numpy as np

from ra_core.messages import CheckReply, DeliveryReply, HistogramReply, JoinRefusal, JoinReply, RoundReply
from ra_core.thresholds import Histogram

COUNTS = {"n_images": 9, "n_patients": 3, "n_val": 4, "n_declared": 20, "n_used": 19}


HEAD = {"ledger_length": 5, "ledger_head": "e" * 64}


def join_reply(**changes):
    names = {"site": "anna", "study_digest": "a" * 64, "package_hash": "b" * 64, "anatomy": "brain", "modality": "MR"}
    return JoinReply(**COUNTS | HEAD | names | {"n_val_patients": 2} | changes)


def round_reply(**changes):
    fields = {
        "site": "anna",
        "round": 3,
        "study_digest": "s",
        "model_hash": "m",
        "fingerprint": "f" * 64,
        "metrics": {"validation_error": 0.5},
        "update": {"encoder.w": np.zeros(2, np.int32)},
    }
    return RoundReply(**COUNTS | HEAD | fields | changes)


def delivery_reply(**changes):
    return DeliveryReply(**{"site": "anna", "model_hash": "c" * 64} | HEAD | changes)


def join_refusal(**changes):
    return JoinRefusal(**{"site": "anna", "reason": "policy.parts doesn't let out decoder"} | HEAD | changes)


def histogram_reply(of=(0.5, 0.5, 2.0, 7.0), **changes):
    found = Histogram.of(of)
    fields = {"site": "anna", "study_digest": "a" * 64, "model_hash": "c" * 64, "network": "", "n": found.n}
    return HistogramReply(**HEAD | fields | {"withheld": "", "scores": found} | changes)


def check_reply(**changes):
    fields = {"site": "anna", "study_digest": "a" * 64, "model_hash": "c" * 64, "n": 20}
    edges = {"local": 600, "pooled": 590, "shrunken": 595}
    above = {"above_local": 1, "above_pooled": 3, "above_shrunken": 2}
    tests = {"healthy": Histogram.of([0.5, 1.0]), "anomalous": Histogram.of([3.0]), "withheld": "", "withheld_test": ""}
    return CheckReply(**HEAD | fields | edges | above | tests | changes)
