"""The federation's state on disk after each round: what a run that lost its process goes on from."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import torch

from ra_core.errors import ResumeError
from ra_core.storage import load_tensors, save_tensors
from server.progress import Progress, RoundRecord

__all__ = ["load_progress", "save_progress"]


def save_progress(path: Path, progress: Progress, study_digest: str) -> None:
    """Write atomically.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    tensors = {f"model/{name}": torch.from_numpy(array) for name, array in progress.model.items()}
    # Copied: model and best may be the same arrays, which safetensors refuses.
    tensors |= {f"best/{name}": torch.from_numpy(array.copy()) for name, array in progress.best.items()}
    facts = {
        "study": study_digest,
        "round": progress.round,
        "records": [asdict(record) for record in progress.records],
        "best_round": progress.best_round,
        "best_error": progress.best_error if math.isfinite(progress.best_error) else None,
    }
    save_tensors(path, tensors, facts)


def load_progress(path: Path, study_digest: str) -> Progress:
    """Read what `save_progress` wrote.

    Raises:
        ResumeError: the file is damaged, or of a run with other settings.
    """
    try:
        tensors, facts = load_tensors(path)
        records = [
            RoundRecord(
                **record
                | {name: tuple(record[name]) for name in ("answered", "missing")}
                | {"files": {name: tuple(counts) for name, counts in record["files"].items()}}
            )
            for record in facts["records"]
        ]
        progress = Progress(
            model={k.removeprefix("model/"): v.numpy() for k, v in tensors.items() if k.startswith("model/")},
            round=facts["round"],
            records=records,
            best={k.removeprefix("best/"): v.numpy() for k, v in tensors.items() if k.startswith("best/")},
            best_round=facts["best_round"],
            best_error=math.inf if facts["best_error"] is None else facts["best_error"],
        )
        same = facts["study"] == study_digest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResumeError(
            f"{path}: can't be resumed from ({type(error).__name__})", "delete it to start afresh"
        ) from None
    if not same:
        raise ResumeError(
            f"{path}: is of a run with other settings", "give another folder, or the settings of that run"
        )
    return progress
