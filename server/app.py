"""The ServerApp: reads what the operator gave, goes on from the last checkpoint, and tells how it ended."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from ra_core.config import StudyConfig
from ra_core.daemons.events import Events
from ra_core.errors import ConfigError
from ra_core.files import write_atomically
from ra_core.hashing import array_digest
from ra_core.models.features import features_hash
from ra_core.models.method import Method
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from server.rounds.account import Account, known_ledgers
from server.rounds.card import save_model
from server.rounds.checkpoint import Checkpoints
from server.rounds.once import Once
from server.rounds.outcome import Outcome, failed, outcome
from server.rounds.progress import Progress
from server.rounds.run_settings import RunSettings, folder_of, load_study
from server.rounds.strategy import FederatedAveraging
from server.run_files import EVENTS, FAILURE, LOCK, MODEL

__all__ = ["app"]

EARLIER_SECONDS = 120.0
"""What an earlier start of the same run gets to end, where it has been stopped: Flower tells it within a minute."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run a study to its end; `server.rounds.run_settings.RunSettings` says what the run's settings are.

    Raises:
        ConfigError: a setting is missing or bad, no federation can train the method, or no round could be selected.
        QuorumError: too few sites joined, or answered usably in an exchange.
        MaskingError: a masked round can't be opened, or was broken off by an earlier start of the run.
        ResumeError: the folder's checkpoints are damaged or of other settings.
        WeightsError: the method looks at images through a pretrained network that this machine doesn't have.
    """
    folder = folder_of(context.run_config)
    with FileLock(folder / LOCK, timeout=EARLIER_SECONDS):
        _run(grid, folder, context.run_config)


def _run(grid: Grid, folder: Path, run_config: Mapping[str, Any]) -> None:
    events = Events(folder / EVENTS)
    (folder / FAILURE).unlink(missing_ok=True)
    run: _Run | None = None
    try:
        run = _Run.opened(folder, run_config, events)
        run.go(grid)
    except Exception as error:  # of any kind: whoever started the run sees no more than a status
        kind = {"kind": type(error).__name__, "module": type(error).__module__}
        failure = kind | {"message": str(error), "hint": getattr(error, "hint", "")}
        with contextlib.suppress(OSError):  # a full disk may be what ended it
            write_atomically(folder / FAILURE, json.dumps(failure).encode())
        with contextlib.suppress(OSError):
            _end(failed(error), run, events)
        raise
    _end(outcome(run.progress), run, events)


@dataclass
class _Run:
    """A run, ready to go on."""

    settings: RunSettings
    study: StudyConfig
    method: Method
    checkpoints: Checkpoints
    account: Account
    events: Events
    progress: Progress

    @classmethod
    def opened(cls, folder: Path, run_config: Mapping[str, Any], events: Events) -> _Run:
        settings = RunSettings.of(run_config)
        study = load_study(settings.study_file)
        features_hash(study.method)  # the model's card needs it at the end
        method = build_method(study.method, study.preprocessing.size, study.seed)
        _require_selectable(method, study)
        if study.calibration:
            study.calibration.scoring_of(method.scorings)  # better refused now than after the last round
        checkpoints = Checkpoints(folder, study.digest(), settings.bundle)
        account = Account(folder, settings.run, study, settings.sites, settings.bundle)
        progress = checkpoints.resume(events.tell) or _start(method, study)
        Once(folder).require(progress)
        return cls(settings, study, method, checkpoints, account, events, progress)

    def go(self, grid: Grid) -> None:
        """From where it is to its end."""
        self.events.tell(
            "run_started",
            run=self.settings.run,
            study_digest=self.study.digest(),
            sites=sorted(self.settings.sites),
            rounds=self.study.federation.rounds,
            from_round=self.progress.round,
        )
        self.account.write(self.progress)
        FederatedAveraging(
            grid,
            self.study,
            self.settings.sites,
            self.method.ready_for_selection,
            self._save,
            run=self.settings.run,
            deadline=self.settings.deadline,
            registered=self.settings.nodes,
            tell=self.events.tell,
            on_masking=Once(self.settings.folder).note,
            ledgers=known_ledgers(self.settings.folder.parent) | self.progress.ledgers,
        ).run(self.progress)
        save_model(self.settings.folder / MODEL, self.study, self.progress)

    def _save(self, progress: Progress) -> None:
        self.checkpoints.save(progress)
        self.account.write(progress)


def _end(end: Outcome, run: _Run | None, events: Events) -> None:
    """Tell how it ended, in the record and to those who follow."""
    best, best_round = "", 0
    if run:
        run.account.write(run.progress, end)
        best = array_digest(run.progress.best) if run.progress.best else ""
        best_round = run.progress.best_round
    reasons = list(end.reasons)
    events.tell("run_ended", state=end.state, reasons=reasons, code=end.code, model_hash=best, best_round=best_round)


def _require_selectable(method: Method, study: StudyConfig) -> None:
    steps = study.federation.rounds * study.federation.local_steps
    if not method.ready_for_selection(steps):
        raise ConfigError(
            f"no round could be selected: all {steps} steps are warm-up",
            "raise federation.rounds, or lower method.warmup_steps",
        )


def _start(method: Method, study: StudyConfig) -> Progress:
    try:
        shared = shared_tensors(method, study.federation)
    except ValueError as error:
        raise ConfigError(f"federation.parts: {error}", "name the parts of the method that are shared") from None
    return Progress({name: tensor.numpy().copy() for name, tensor in shared.items()})
