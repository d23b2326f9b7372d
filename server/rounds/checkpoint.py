"""The federation's state on disk after each exchange: what a run that lost its process goes on from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ra_core.errors import ResumeError
from ra_core.files import sweep
from ra_core.messages import JoinReply
from ra_core.storage import load_tensors, save_tensors
from ra_core.thresholds.record import FederatedCalibration
from server.rounds.progress import Progress, RoundRecord
from server.rounds.roster import Tell
from server.run_files import CHECKPOINT, PREVIOUS, REFUSED

__all__ = ["Checkpoints"]

FORMAT = 5


@dataclass(frozen=True)
class Checkpoints:
    """The last two checkpoints of a run; at any moment one of them is whole.

    Attributes:
        folder: of the run.
        study_digest: of its settings.
        bundle: SHA-256 of the app that was submitted; empty where none was.
    """

    folder: Path
    study_digest: str
    bundle: str = ""

    def save(self, progress: Progress) -> None:
        """Write the state atomically; the last checkpoint becomes the one before it.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        last = self.folder / CHECKPOINT
        if last.exists():
            last.replace(self.folder / PREVIOUS)
        save_tensors(last, _tensors(progress), {"bundle": self.bundle, "study": self.study_digest} | _facts(progress))

    def load(self) -> Progress | None:
        """The last state that can be used; None where there is no checkpoint.

        Raises:
            ResumeError: there are checkpoints, and each is damaged or of another run.
        """
        return self._last()[0]

    def resume(self, tell: Tell) -> Progress | None:
        """What `load` gives, to go on from: a last checkpoint that can't be used is set aside, and that is told.

        Raises:
            ResumeError: there are checkpoints, and each is damaged or of another run. They are left as they are.
        """
        sweep(self.folder)
        progress, problem = self._last()
        if progress and problem:
            (self.folder / CHECKPOINT).replace(self.folder / REFUSED)
            tell("checkpoint_refused", reason=problem.message, from_round=progress.round)
        return progress

    def _last(self) -> tuple[Progress | None, ResumeError | None]:
        """The last state that can be used, and what is wrong with the one after it."""
        problem: ResumeError | None = None
        for path in (self.folder / CHECKPOINT, self.folder / PREVIOUS):
            if not path.exists():
                continue
            try:
                return self._load(path), problem
            except ResumeError as error:
                problem = problem or error
        if problem:
            raise problem
        return None, None

    def _load(self, path: Path) -> Progress:
        try:
            tensors, facts = load_tensors(path)
            progress = _progress(tensors, facts)
            ours = facts["study"] == self.study_digest
            same_app = not (self.bundle and facts["bundle"]) or facts["bundle"] == self.bundle
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ResumeError(
                f"{path}: can't be resumed from ({type(error).__name__})", "delete it to start afresh"
            ) from None
        if not (ours and same_app):
            what = "with other settings" if not ours else "of another app bundle"
            raise ResumeError(f"{path}: is of a run {what}", "give another folder, or the settings of that run")
        return progress


def _tensors(progress: Progress) -> dict[str, Tensor]:
    """Copied where arrays may be shared: model and best may be the same, which safetensors refuses."""
    found = {f"model/{name}": torch.from_numpy(array) for name, array in progress.model.items()}
    found |= {f"best/{name}": torch.from_numpy(array.copy()) for name, array in progress.best.items()}
    return found | {f"optimizer/{name}": torch.from_numpy(array) for name, array in progress.optimizer.items()}


def _facts(progress: Progress) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "round": progress.round,
        "records": [asdict(record) for record in progress.records],
        "joined": {site: asdict(reply) for site, reply in progress.joined.items()},
        "best_round": progress.best_round,
        "best_error": progress.best_error if math.isfinite(progress.best_error) else None,
        "calibration": progress.calibration.model_dump(mode="json") if progress.calibration else None,
        "delivered": progress.delivered,
        "undelivered": progress.undelivered,
        "ledgers": progress.ledgers,
    }


def _progress(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Progress:
    if facts["format"] != FORMAT:
        raise ValueError("another format")

    def under(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): t.numpy() for name, t in tensors.items() if name.startswith(prefix)}

    return Progress(
        model=under("model/"),
        round=facts["round"],
        optimizer=under("optimizer/"),
        records=[_record(found) for found in facts["records"]],
        joined={site: JoinReply(**told) for site, told in facts["joined"].items()},
        best=under("best/"),
        best_round=facts["best_round"],
        best_error=math.inf if facts["best_error"] is None else facts["best_error"],
        calibration=_calibration(facts["calibration"]),
        delivered=tuple(facts["delivered"]),
        undelivered=dict(facts["undelivered"]),
        ledgers=_pairs(facts["ledgers"]),
    )


def _calibration(found: Any) -> FederatedCalibration | None:
    return None if found is None else FederatedCalibration.model_validate(found)


def _record(found: Mapping[str, Any]) -> RoundRecord:
    tuples = {name: tuple(found[name]) for name in ("asked", "answered")}
    pairs = {name: _pairs(found[name]) for name in ("files", "ledgers", "privacy")}
    return RoundRecord(**{**found, **tuples, **pairs})


def _pairs(found: Mapping[str, Any]) -> dict[str, Any]:
    """Pairs and triples by site; JSON made lists of them."""
    return {site: tuple(pair) for site, pair in found.items()}
