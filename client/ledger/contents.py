"""What a message holds, as the ledger tells it: its plain fields, and of its arrays all but their values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ra_core.clipping import update_norm
from ra_core.hashing import array_digest
from ra_core.masking.figures import COUNTS
from ra_core.messages import CheckReply, Failure, HistogramReply, MaskedReply, Reply, RoundReply, StageReply
from ra_core.thresholds import Histogram

__all__ = ["contents"]

_HEAD = frozenset({"ledger_length", "ledger_head"})
"""Of the line itself, so it can't hold them."""

_APART = _HEAD | {"metrics", "update", "message", "masked", "scores", "healthy", "anomalous"}
"""Fields that are told in another way than as they are."""


def contents(reply: Reply | Failure, withheld: Sequence[str], figures: Reply | None = None) -> dict[str, Any]:
    """Describe a message.

    Args:
        reply: as it is about to leave.
        withheld: what the policy has kept back, with its key; or why nothing but a failure leaves.
        figures: of a round; where the reply is masked, they are what is under the masks.

    Returns:
        `facts`: fields by name; of score histograms `histograms` by name, with patients, cells, the smallest count and
        SHA-256 of each; with secure aggregation also `said`, the signed message without its shares, and of a
        masked one the counts under the masks; `metrics`: by name; `tensors`: name, shape, dtype, L2 norm and bytes of
        each; `norm`: L2, of all of them; `bytes`: of all that, as the tensors' values and JSON; `sha256`: over facts,
        metrics and the tensors' digest, as JSON with sorted keys and without spaces; `withheld`.
    """
    facts = {name: value for name, value in vars(reply).items() if name not in _APART}
    metrics, update = (dict(figures.metrics), figures.update) if isinstance(figures, RoundReply) else ({}, {})
    if isinstance(reply, HistogramReply | CheckReply):
        facts["histograms"] = {name: _counted(found) for name, found in reply.histograms.items() if found.cells}
    if isinstance(reply, StageReply | MaskedReply):
        facts["said"] = _said(reply.message)
    if isinstance(reply, MaskedReply):
        facts |= {name: getattr(figures, name) for name in COUNTS}
    digest = array_digest(update)
    sizes = [codes.nbytes for codes in update.values()]
    text = json.dumps([facts, metrics, digest], sort_keys=True, separators=(",", ":")).encode()
    return {
        "facts": facts,
        "metrics": metrics,
        "tensors": [
            {
                "name": name,
                "shape": list(codes.shape),
                "dtype": str(codes.dtype),
                "norm": update_norm({name: codes}),
                "bytes": codes.nbytes,
            }
            for name, codes in sorted(update.items())
        ],
        "norm": update_norm(update),
        "bytes": len(text) + (reply.masked.nbytes if isinstance(reply, MaskedReply) else sum(sizes)),
        "sha256": hashlib.sha256(text).hexdigest(),
        "withheld": list(withheld),
    }


def _counted(found: Histogram) -> dict[str, Any]:
    """A histogram without its cells."""
    text = json.dumps(found.cells, separators=(",", ":")).encode()
    smallest = min(count for *_, count in found.cells)
    digest = hashlib.sha256(text).hexdigest()
    return {"patients": found.n, "cells": len(found.cells), "smallest": smallest, "sha256": digest}


def _said(message: str) -> dict[str, Any]:
    """A signed message: of shares and commitments only whose they are, all else as it is, and SHA-256 of the whole."""
    told = {name: sorted(value) if isinstance(value, dict) else value for name, value in json.loads(message).items()}
    return told | {"sha256": hashlib.sha256(message.encode()).hexdigest()}
