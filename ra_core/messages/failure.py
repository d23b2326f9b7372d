"""What a site answers where something went wrong: of what kind, and no more."""

from __future__ import annotations

from dataclasses import dataclass

from flwr.app import Error

from ra_core.messages.wire import SITE_FAILED

__all__ = ["CRASHED", "Failure"]

CRASHED = "Crashed"
"""Kind where a site's process ended without an answer, killed or out of memory: it has not said no."""


@dataclass(frozen=True)
class Failure:
    """Site to server, in place of a reply.

    Attributes:
        kind: of the error, the name of its class, since its text may name files or patients; or `CRASHED`.
        site: name in the consortium; empty where the site doesn't know itself.
        about: the other site that it blames, in secure aggregation; empty where it blames none.
    """

    kind: str
    site: str
    about: str = ""

    def to_error(self) -> Error:
        """As Flower sends it."""
        whom = f": {self.about}" if self.about else ""
        return Error(code=SITE_FAILED, reason=f"{self.kind} at {self.site}{whom}" if self.site else self.kind)
