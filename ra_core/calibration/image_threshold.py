"""A threshold of images with all that a reader of a decision has to know of it, and the one sentence that says so."""

from __future__ import annotations

from ra_core.thresholds import Promise
from ra_core.thresholds.record import Achieved, Way
from ra_core.words import asked, percent

__all__ = ["ImageThreshold"]


class ImageThreshold(Promise):
    """A threshold of images, and how it came about.

    Attributes:
        way: from the site's own scores, from all sites' as one, or between the two.
        achieved: how often other healthy patients of the site were above it; None where nobody tried.
    """

    way: Way = "local"
    achieved: Achieved | None = None

    def told(self, site: str) -> str:
        """What a reader of a decision has to know, in one sentence without a full stop.

        Args:
            site: whose patients are behind it.
        """
        if self.value is None:
            return f"no decision: {self.note}"
        whose = "the consortium" if self.way == "pooled" else site
        behind = f"calibrated on {self.n} healthy patients of {whose}, asked {asked(self.rate)}"
        if self.low is not None and self.high is not None:
            expected = f"{behind}, expected range {percent(self.low)} to {percent(self.high)}"
            return f"{expected}; {self.note}" if self.note else expected
        if self.way == "local":
            return f"{behind}, {self.note}"
        measured = f"measured {self.achieved.above} of {self.achieved.n}" if self.achieved else "not tried"
        return f"{behind}, {self.way}, {measured}: {self.note}"
