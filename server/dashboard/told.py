"""What the files of a consortium hold, before anything is concluded from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ra_core.thresholds.record import FederatedCalibration
from server.dashboard.processes import DaemonStory
from server.story.story import RunStory

__all__ = ["Told"]


@dataclass(frozen=True)
class Told:
    """What the files of a consortium hold.

    Attributes:
        title: the consortium's name.
        registry: states of the sites by name.
        runs: in any order.
        daemon: of the server.
        running: whether the daemon is.
        certificates: when they end, by the file's name.
        warnings: what there is to say of them.
        calibration: of the latest run, as its card has it; None where it has none.
    """

    title: str
    registry: Mapping[str, str]
    runs: Sequence[RunStory]
    daemon: DaemonStory
    running: bool
    certificates: Mapping[str, datetime]
    warnings: Sequence[str]
    calibration: FederatedCalibration | None = None

    @property
    def online(self) -> Mapping[str, bool]:
        """Whether a site is, of those that a daemon that runs has told of."""
        return self.daemon.online if self.running else {}
