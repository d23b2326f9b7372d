"""What the files of a consortium tell; of the logs, only new lines are read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime

from ra_core.config import SITE_NAME
from ra_core.errors import AdmissionError, ConfigError
from server.consortium import Consortium
from server.dashboard.processes import DaemonStory
from server.dashboard.state import Page, latest_first, page
from server.dashboard.told import Told
from server.operation.daemon import running
from server.provisioning.certificates import expiring, expiry
from server.provisioning.registry import load_site, site_names
from server.run_files import EVENTS
from server.story.calibration import calibration_of
from server.story.log import Log
from server.story.story import RunStory

__all__ = ["ConsortiumFiles"]


class ConsortiumFiles:
    """The files of one consortium, read again at every look. Nothing is written.

    Args:
        consortium: whose.
    """

    def __init__(self, consortium: Consortium) -> None:
        self._consortium = consortium
        self._daemon = Log(consortium.events, DaemonStory())
        self._runs: dict[str, Log[RunStory]] = {}
        self._one_at_a_time = threading.Lock()

    def look(self, now: datetime) -> Page:
        """The page as it is now.

        Raises:
            OSError: a file or folder can't be read.
        """
        with self._one_at_a_time:
            certificates, warnings = self._certificates(now)
            runs = latest_first(log.follow() for log in self._run_logs())
            told = Told(
                title=self._consortium.config.name,
                registry=dict(self._registered()),
                runs=runs,
                daemon=self._daemon.follow(),
                running=bool(running(self._consortium)),
                certificates=certificates,
                warnings=warnings,
                calibration=calibration_of(self._consortium.run(runs[0].name))
                if runs and runs[0].calibration
                else None,
            )
            return page(told, now)

    def _registered(self) -> Iterator[tuple[str, str]]:
        """States of the sites by name, of those that have left the settings too."""
        for name in sorted({*self._consortium.config.sites, *site_names(self._consortium)}):
            try:
                yield name, load_site(self._consortium, name).state
            except AdmissionError:
                yield name, "not provisioned"
            except ConfigError:
                yield name, "damaged"

    def _run_logs(self) -> list[Log[RunStory]]:
        folder = self._consortium.runs
        found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        self._runs = {
            path.name: self._runs.get(path.name) or Log(path / EVENTS, RunStory(path.name))
            for path in found
            if SITE_NAME.fullmatch(path.name)
        }
        return list(self._runs.values())

    def _certificates(self, now: datetime) -> tuple[dict[str, datetime], list[str]]:
        """Their ends by name, and what there is to say of them."""
        try:
            return expiry(self._consortium), expiring(self._consortium, now)
        except ConfigError as error:
            return {}, [f"{error.message}: {error.hint}"]
