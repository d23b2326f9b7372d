"""The only door out of a hospital: what may leave is named here, everything else is withheld."""

from __future__ import annotations

import math

from flwr.app import RecordDict

from ra_core.errors import ReleaseError
from ra_core.messages import RoundReply

__all__ = ["ALLOWED_METRICS", "release"]

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
    }
)
"""Numbers that summarise all of a site's images in a round; none is about a single image."""


def release(reply: RoundReply, parts: tuple[str, ...]) -> RecordDict:
    """What leaves the site: the reply, if all of it is allowed.

    Args:
        reply: what the site has computed.
        parts: that the study shares.

    Raises:
        ReleaseError: an array of another part, an unknown metric or one that is not finite; nothing was released.
    """
    for name in reply.update:
        if name.partition(".")[0] not in parts:
            raise ReleaseError(f"array '{name}' is not of a shared part", f"the study shares {', '.join(parts)}")
    for name, value in reply.metrics.items():
        if name not in ALLOWED_METRICS:
            raise ReleaseError(f"metric '{name}' is not on the list of what may leave", "see client/policy.py")
        if not math.isfinite(value):
            raise ReleaseError(f"metric '{name}' is not finite", "look at the site's own training log")
    return reply.to_record()
