"""The only door out of a hospital: what may leave is named here, everything else is withheld."""

from __future__ import annotations

import math
from collections.abc import Mapping

from flwr.app import RecordDict

from ra_core.errors import ReleaseError
from ra_core.messages import DeliveryReply, JoinReply, RoundReply

__all__ = ["ALLOWED_FIELDS", "ALLOWED_METRICS", "release"]

COUNTS = frozenset({"n_images", "n_patients", "n_val", "n_declared", "n_used"})

ALLOWED_FIELDS: Mapping[type, frozenset[str]] = {
    JoinReply: COUNTS | {"site", "study_digest", "package_hash", "anatomy", "modality", "n_val_patients"},
    RoundReply: COUNTS | {"site", "round", "study_digest", "model_hash", "fingerprint", "metrics", "update"},
    DeliveryReply: frozenset({"site", "model_hash"}),
}
"""Counts, names that the consortium gave, hashes; and in a round metrics and updates, of which more below."""

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


def release(reply: JoinReply | RoundReply | DeliveryReply, parts: tuple[str, ...]) -> RecordDict:
    """What leaves the site: the reply, if all of it is allowed.

    Args:
        reply: what the site has computed.
        parts: that the study shares.

    Raises:
        ReleaseError: a field that is not on the list, an array of another part, an unknown metric or one that is not
            finite; nothing was released.
    """
    unknown = sorted(set(vars(reply)) - ALLOWED_FIELDS.get(type(reply), frozenset()))
    if unknown:
        raise ReleaseError(f"field '{unknown[0]}' is not on the list of what may leave", "see client/policy.py")
    if isinstance(reply, RoundReply):
        _check_round(reply, parts)
    return reply.to_record()


def _check_round(reply: RoundReply, parts: tuple[str, ...]) -> None:
    for name in reply.update:
        if name.partition(".")[0] not in parts:
            raise ReleaseError(f"array '{name}' is not of a shared part", f"the study shares {', '.join(parts)}")
    for name, value in reply.metrics.items():
        if name not in ALLOWED_METRICS:
            raise ReleaseError(f"metric '{name}' is not on the list of what may leave", "see client/policy.py")
        if not math.isfinite(value):
            raise ReleaseError(f"metric '{name}' is not finite", "look at the site's own training log")
