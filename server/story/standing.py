"""Where a run can be, and how a site can stand in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = ["DELIVERY", "JOINING", "OUT", "Phase", "SiteStory", "Standing", "latest"]

JOINING = 0
DELIVERY = -1
"""Places of troubles that belong to no round."""


class Phase(StrEnum):
    """What a run is at."""

    NOT_BEGUN = "not begun"
    STARTING = "starting"
    JOINING = "joining"
    ROUND = "round"
    BETWEEN = "between rounds"
    ENDED = "ended"


class Standing(StrEnum):
    """The last that is known of a site in a run."""

    EXPECTED = "expected"
    JOINED = "joined"
    ASKED = "asked"
    ANSWERED = "answered"
    MISSING = "missing"
    REJECTED = "rejected"
    REFUSED = "refused"
    DELIVERED = "has the model"
    NOT_DELIVERED = "lacks the model"


OUT = (Standing.MISSING, Standing.REJECTED, Standing.REFUSED)
"""Of sites without which a round goes on."""


@dataclass
class SiteStory:
    """A site in a run; figures by the number of rounds behind the model that they judge."""

    standing: Standing = Standing.EXPECTED
    reason: str = ""
    heard: datetime | None = None
    used: int | None = None
    declared: int | None = None
    validation: dict[int, float] = field(default_factory=dict)
    training: dict[int, float] = field(default_factory=dict)


def latest(errors: Mapping[int, float]) -> float | None:
    """The one with the most rounds behind it; None where there is none. Others may add to them meanwhile."""
    known = dict(errors)
    return known[max(known)] if known else None
