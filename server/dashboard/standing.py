"""Where a run can be, and how a site can stand in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = ["DELIVERY", "JOINING", "Phase", "SiteStory", "Standing"]

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


@dataclass
class SiteStory:
    """A site in a run; figures by the number of rounds behind the model that they judge."""

    standing: Standing = Standing.EXPECTED
    reason: str = ""
    heard: datetime | None = None
    images: int | None = None
    used: int | None = None
    declared: int | None = None
    validation: dict[int, float] = field(default_factory=dict)
    training: dict[int, float] = field(default_factory=dict)
