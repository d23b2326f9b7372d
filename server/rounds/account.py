"""`run.json`: what a run was asked, what came of it, and who was there, written after every exchange."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ra_core.config import StudyConfig
from ra_core.files import write_atomically
from ra_core.hashing import array_digest
from ra_core.installed import package_hash
from ra_core.runtime import software_versions
from server.rounds.outcome import Outcome
from server.rounds.progress import LedgerHead, Progress, RoundRecord
from server.run_files import RESULT

__all__ = ["RUNNING", "Account", "known_ledgers"]

CRITERION = "validation_error, lower is better"

RUNNING = Outcome("running", (), 0)
"""What a record says until its run has ended; for ever, where its process was killed."""


@dataclass(frozen=True)
class Account:
    """Gives account of one run.

    Attributes:
        folder: of the run.
        run: its name.
        study: settings.
        sites: agreed names.
        bundle: SHA-256 of the app that was submitted; empty where none was.
    """

    folder: Path
    run: str
    study: StudyConfig
    sites: Sequence[str]
    bundle: str

    def write(self, progress: Progress, outcome: Outcome = RUNNING) -> None:
        """Write the file atomically.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        told = self._agreed() | _reached(progress, self.study) | _ended(outcome)
        write_atomically(self.folder / RESULT, (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode())

    def _agreed(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "study_digest": self.study.digest(),
            "package_hash": package_hash(),
            "bundle": self.bundle,
            "software": software_versions(self.study.method),
            "sites": sorted(self.sites),
            "rounds_asked": self.study.federation.rounds,
            "criterion": CRITERION,
        }


def _reached(progress: Progress, study: StudyConfig) -> dict[str, Any]:
    early = progress.closed and progress.round < study.federation.rounds
    return {
        "rounds_done": progress.round,
        "stopped_early": f"stopped early at round {progress.round}" if early else "",
        "best_round": progress.best_round if progress.best else None,
        "best_error": progress.best_error if math.isfinite(progress.best_error) else None,
        "model_hash": array_digest(progress.best) if progress.best else "",
        "last_model_hash": array_digest(progress.model),
        "images": {
            site: {"train": reply.n_images, "val": reply.n_val, "used": reply.n_used, "declared": reply.n_declared}
            for site, reply in sorted(progress.joined.items())
        },
        "rounds": [_round(record) for record in progress.records],
        "unfinished_round": _round(progress.unfinished) if progress.unfinished else None,
        "ledgers": _ledgers(progress.ledgers),
        "calibration": progress.calibration.model_dump(mode="json") if progress.calibration else None,
        "delivered": list(progress.delivered),
        "undelivered": dict(sorted(progress.undelivered.items())),
    }


def _round(record: RoundRecord) -> dict[str, Any]:
    error = record.validation_error
    return {
        "round": record.round,
        "closing": record.closing,
        "asked": list(record.asked),
        "answered": list(record.answered),
        "missing": dict(record.missing),
        "n_images": record.n_images,
        "files": {site: {"used": used, "declared": declared} for site, (used, declared) in record.files.items()},
        "validation_error": error if math.isfinite(error) else None,
        "metrics": {site: dict(found) for site, found in record.by_site.items()},
        "means": dict(record.means),
        "totals": dict(record.totals),
        "reasons": dict(record.missing) | _untold(record.by_site),
        "ledgers": _ledgers(record.ledgers),
        "privacy": {
            site: {"epsilon": epsilon, "delta": delta, "noise_multiplier": noise}
            for site, (epsilon, delta, noise) in record.privacy.items()
        },
    }


def _ledgers(heads: Mapping[str, LedgerHead]) -> dict[str, Any]:
    """With these a site's `ra-client ledger verify` shows that its ledger is still the one that the server knew."""
    return {site: {"length": length, "head": head} for site, (length, head) in sorted(heads.items())}


def known_ledgers(runs: Path) -> dict[str, LedgerHead]:
    """What the latest runs were told of each site's ledger; a record that can't be read tells nothing.

    Args:
        runs: folder that has those of all runs.
    """
    found: dict[str, LedgerHead] = {}
    for file in sorted(runs.glob(f"*/{RESULT}"), key=lambda file: file.stat().st_mtime):
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            told = json.loads(file.read_bytes())["ledgers"]
            found |= {site: (int(head["length"]), str(head["head"])) for site, head in told.items()}
    return found


def _untold(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Sites that lack a metric which others have told."""
    names = {name for found in metrics.values() for name in found}
    lacking = {site: sorted(names - found.keys()) for site, found in metrics.items()}
    return {site: f"the site told no {', '.join(missing)}" for site, missing in lacking.items() if missing}


def _ended(outcome: Outcome) -> dict[str, Any]:
    return {"state": outcome.state, "reasons": list(outcome.reasons), "code": outcome.code}
