"""What may leave a hospital: each message's fields, and the metrics of a round. Everything else stays."""

from __future__ import annotations

import math
from collections.abc import Mapping

from client.terms import COUNTS
from ra_core.errors import ReleaseError
from ra_core.messages import (
    CheckReply,
    DeliveryReply,
    Failure,
    HistogramReply,
    JoinRefusal,
    JoinReply,
    MaskedReply,
    RoundReply,
    StageReply,
)

__all__ = ["ALLOWED_FIELDS", "ALLOWED_METRICS", "Sent", "require_finite", "require_listed"]

_HEAD = frozenset({"site", "ledger_length", "ledger_head"})

ALLOWED_FIELDS: Mapping[type, frozenset[str]] = {
    JoinReply: _HEAD | COUNTS | {"study_digest", "package_hash", "anatomy", "modality", "pins"},
    JoinRefusal: _HEAD | {"reason"},
    RoundReply: _HEAD
    | (COUNTS - {"n_val_patients"})
    | {"round", "study_digest", "model_hash", "fingerprint", "metrics", "update"}
    | {"epsilon", "delta", "noise_multiplier", "spending"},
    StageReply: _HEAD | {"round", "stage", "message"},
    MaskedReply: _HEAD
    | {"round", "study_digest", "model_hash", "fingerprint", "message", "masked"}
    | {"epsilon", "delta", "noise_multiplier"},
    HistogramReply: _HEAD | {"study_digest", "model_hash", "network", "n", "withheld", "scores"},
    CheckReply: _HEAD
    | {"study_digest", "model_hash", "local", "pooled", "shrunken", "n", "withheld", "withheld_test"}
    | {"above_local", "above_pooled", "above_shrunken", "healthy", "anomalous"},
    DeliveryReply: _HEAD | {"model_hash"},
    Failure: frozenset({"kind", "site", "about"}),
}
"""Counts, names that the consortium gave, hashes; in a round metrics and updates, of which more below; in calibration
histograms, which are counts too."""

ALLOWED_METRICS = frozenset(
    {
        "validation_error",
        "error",
        "kl_real",
        "kl_reconstructed",
        "kl_fake",
        "kl_gap",
        "reversed",
        "vae",
        "encoder",
        "decoder",
        "loss",
        "log_likelihood",
        "perceptual",
    }
)
"""Numbers that summarise all of a site's images in a round; none is about a single image."""

Sent = JoinReply | JoinRefusal | RoundReply | StageReply | HistogramReply | CheckReply | DeliveryReply
"""What a site computes. A round's reply leaves as a `MaskedReply` where the study has secure aggregation."""


def require_listed(reply: Sent | MaskedReply | Failure) -> None:
    """A message has no field and no metric but those listed.

    Raises:
        ReleaseError: it has.
    """
    unknown = sorted(set(vars(reply)) - ALLOWED_FIELDS.get(type(reply), frozenset()))
    if unknown:
        raise ReleaseError(f"field '{unknown[0]}' is not on the list of what may leave", "see client/listed.py")
    for name in sorted(reply.metrics.keys() - ALLOWED_METRICS) if isinstance(reply, RoundReply) else ():
        raise ReleaseError(f"metric '{name}' is not on the list of what may leave", "see client/listed.py")


def require_finite(reply: Sent) -> None:
    """All metrics of what does leave are numbers: that a withheld one isn't finite would be told by a refusal.

    Raises:
        ReleaseError: one isn't.
    """
    for name, value in reply.metrics.items() if isinstance(reply, RoundReply) else ():
        if not math.isfinite(value):
            raise ReleaseError(f"metric '{name}' is not finite", "look at the site's own training log")
