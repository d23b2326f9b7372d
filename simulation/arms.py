"""The ways to train a model on the same budget: at one site alone, on all images in one place, by a federation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Protocol

import torch

from ra_core.artifact import Arm as Kind
from ra_core.artifact import model_hash
from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.console import Counter, graceful_stop
from ra_core.data import JoinedImages
from ra_core.errors import ConfigError, ResumeError
from ra_core.models.method import FittedMethod, Method
from ra_core.models.registry import build_method
from ra_core.models.shared import load_shared
from ra_core.runtime import Runtime
from ra_core.site_scorer import batches
from ra_core.storage import load_tensors, save_tensors
from ra_core.thresholds.record import FederatedCalibration
from ra_core.training import LocalTrainer
from server.rounds.progress import Progress, RoundRecord
from simulation.engines import Node, OnProgress, answered

__all__ = [
    "Arm",
    "Engine",
    "Reporter",
    "Trained",
    "hash_of",
    "require_public",
    "train_alone",
    "train_federated",
]

Engine = Callable[[StudyConfig, Sequence[Node], RuntimeConfig, Path, OnProgress], Progress]
"""`engines.run_in_process` or `engines.run_flower`."""


class Reporter(Protocol):
    """What a run tells its user."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def task(self, title: str, total: int | None, done: int = 0) -> AbstractContextManager[Callable[[int, str], None]]:
        """A bar; the value is a function (done, detail) that moves it."""
        ...

    def counted(self, title: str) -> AbstractContextManager[Counter]:
        """A bar for work that tells its length on the way; the value moves it."""
        ...


@dataclass(frozen=True)
class Arm:
    """How one model is trained, and on which sites."""

    kind: Kind
    sites: tuple[str, ...]

    @property
    def name(self) -> str:
        """For people."""
        return f"local: {self.sites[0]}" if self.kind == "local" else self.kind

    @property
    def folder(self) -> str:
        """For its files."""
        return f"local_{self.sites[0]}" if self.kind == "local" else self.kind

    @property
    def train_sites(self) -> str:
        """As in the table."""
        return "+".join(self.sites)


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        arm: how.
        method: with the selected weights.
        selected, units: which step of how many, or round.
        history: rows of `step` and loss terms.
        records: of a federation's exchanges; empty elsewhere.
        calibration: thresholds and accuracy over a federation's sites; None where the study asks for none.
    """

    arm: Arm
    method: Method
    selected: int
    units: int
    history: Sequence[Mapping[str, float]]
    records: Sequence[RoundRecord] = ()
    calibration: FederatedCalibration | None = None

    @property
    def selection(self) -> str:
        """For people."""
        return f"{'round' if self.records else 'step'} {self.selected} of {self.units}"

    @cached_property
    def model_hash(self) -> str:
        """As `hash_of`."""
        return hash_of(self.method)


def hash_of(method: Method) -> str:
    """The model's; empty where it has no model file."""
    return model_hash(method) if method.shared_parts() else ""


def train_alone(
    arm: Arm,
    train: JoinedImages,
    val: JoinedImages,
    study: StudyConfig,
    runtime: Runtime,
    folder: Path,
    reporter: Reporter,
) -> Trained:
    """Train, or go on training, in one place.

    Raises:
        KeyboardInterrupt: stopped between two steps; a checkpoint was kept.
        NonFiniteError: training diverged.
        ResumeError: the checkpoint is damaged.
        ConfigError: the study has differential privacy.
    """
    require_public(study)
    method = build_method(study.method, study.preprocessing.size, study.seed).to(runtime.device)
    if isinstance(method, FittedMethod):
        with reporter.task(f"computing {arm.name}", None):
            method.fit(batches(train, study.evaluation.batch_size))
        return Trained(arm, method, 1, 1, [])
    trainer = LocalTrainer(method, train, val, study.training, runtime, study.seed)
    checkpoint = folder / "checkpoint.safetensors"
    if checkpoint.exists():
        _restore(trainer, checkpoint)
        reporter.say(f"{arm.name}: going on from step {trainer.step}")
    steps, every = study.training.steps, study.training.checkpoint_every
    with reporter.task(f"training {arm.name}", steps, trainer.step) as move, graceful_stop() as stop:

        def on_step(trainer: LocalTrainer, terms: dict[str, float]) -> None:
            move(trainer.step, _summary(terms))
            if trainer.step % every == 0 or trainer.step == steps:
                save_tensors(checkpoint, trainer.tensors(), trainer.facts())

        trainer.run(steps, on_step, stop)
        if stop():
            save_tensors(checkpoint, trainer.tensors(), trainer.facts())
            raise KeyboardInterrupt
    trainer.select_best()
    return Trained(arm, method, trainer.best_step, steps, trainer.history)


def require_public(study: StudyConfig) -> None:
    """Refuse to train outside a federation what has to have differential privacy: no ledger would be its account.

    Raises:
        ConfigError: the study has `dp`.
    """
    if study.dp:
        raise ConfigError(
            "dp: there is differential privacy in a federation only, where each site keeps its account",
            "leave out the local and pooled models and those adapted at a site, or dp",
        )


def train_federated(
    arm: Arm,
    nodes: Sequence[Node],
    study: StudyConfig,
    runtime: RuntimeConfig,
    folder: Path,
    engine: Engine,
    reporter: Reporter,
) -> Trained:
    """Train, or go on training, over all sites; the checkpoint of the last whole round is kept.

    Raises:
        RAError: of any kind: what ended the federation early.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = (study.federation.rounds + 1) * len(nodes)
    with reporter.task(f"training {arm.name}", total, answered(study, nodes, folder)) as move:
        progress = engine(study, nodes, runtime, folder, lambda done, _: move(done, f"answer {done} of {total}"))
    method = build_method(study.method, study.preprocessing.size, study.seed)
    load_shared(method, study.federation, {name: torch.from_numpy(array) for name, array in progress.best.items()})
    history = _history(progress.records, study.federation.local_steps)
    return Trained(arm, method, progress.best_round, progress.round, history, progress.records, progress.calibration)


def _restore(trainer: LocalTrainer, checkpoint: Path) -> None:
    try:
        trainer.restore(*load_tensors(checkpoint))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ResumeError(
            f"{checkpoint}: can't be resumed from ({type(error).__name__})", "delete it and start that model afresh"
        ) from None


def _history(records: Sequence[RoundRecord], local_steps: int) -> list[dict[str, float]]:
    """Rows by step: a record judges the model before its round and has the mean terms of the steps within it."""
    rows: dict[int, dict[str, float]] = {}
    for record in records:
        before = (record.round - 1) * local_steps
        judged = {"validation_error": record.validation_error} if math.isfinite(record.validation_error) else {}
        rows.setdefault(before, {"step": before}).update(judged)
        terms = dict(_mean_terms(record))
        if terms:
            rows[before + local_steps] = {"step": before + local_steps} | terms
    return [rows[step] for step in sorted(rows)]


def _mean_terms(record: RoundRecord) -> Iterator[tuple[str, float]]:
    """Plain means over the sites that have them."""
    for name in sorted(set(chain.from_iterable(record.by_site.values())) - {"validation_error"}):
        values = [metrics[name] for metrics in record.by_site.values() if name in metrics]
        yield name, sum(values) / len(values)


def _summary(terms: Mapping[str, float]) -> str:
    shown = {"error": "error", "kl_real": "KL real", "kl_fake": "KL fake", "validation_error": "validation"}
    return ", ".join(f"{label} {terms[name]:.4g}" for name, label in shown.items() if name in terms)
