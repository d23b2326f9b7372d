"""What a message holds, as the ledger tells it: its plain fields, and of its arrays all but their values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch

from ra_core.clipping import update_norm
from ra_core.hashing import tensor_digest
from ra_core.messages import Failure, Reply, RoundReply

__all__ = ["contents"]

_HEAD = frozenset({"ledger_length", "ledger_head"})
"""Of the line itself, so it can't hold them."""


def contents(reply: Reply | Failure, withheld: Sequence[str]) -> dict[str, Any]:
    """Describe a message.

    Args:
        reply: as it is about to leave.
        withheld: what the policy has kept back, with its key; or why nothing but a failure leaves.

    Returns:
        `facts`: fields by name; `metrics`: by name; `tensors`: name, shape, dtype, L2 norm and bytes of each;
        `norm`: L2, of all of them; `bytes`: of all that, as the tensors' values and JSON; `sha256`: over facts, metrics
        and the tensors' digest, as JSON with sorted keys and without spaces; `withheld`.
    """
    facts = {name: value for name, value in vars(reply).items() if name not in _HEAD | {"metrics", "update"}}
    metrics, update = (dict(reply.metrics), reply.update) if isinstance(reply, RoundReply) else ({}, {})
    digest = tensor_digest({name: torch.from_numpy(codes) for name, codes in update.items()})
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
        "bytes": len(text) + sum(codes.nbytes for codes in update.values()),
        "sha256": hashlib.sha256(text).hexdigest(),
        "withheld": list(withheld),
    }
