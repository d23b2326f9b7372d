"""One site's run from images to model, numbers and pictures; stops at any moment and goes on where it was."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from client.site import open_site
from ra_core.artifact import Artifact, Card, DataSummary, model_hash, save_artifact
from ra_core.baselines import evaluate_baselines
from ra_core.calibration import save_calibration
from ra_core.config import SiteConfig, StudyConfig
from ra_core.console import graceful_stop
from ra_core.data import SiteImages
from ra_core.errors import ResumeError, TooFewImagesError
from ra_core.evaluation import Evaluation, evaluate
from ra_core.models.registry import build_method
from ra_core.perceptual import Perceptual
from ra_core.results import write_results
from ra_core.runtime import Runtime, software_versions
from ra_core.scoring import Scorer
from ra_core.storage import load_tensors, save_tensors, sweep, write_atomically
from ra_core.table import Table
from ra_core.training import LocalTrainer
from simulation.report import draw_gallery

__all__ = ["Reporter", "SiteRun", "open_tested_site"]


class Reporter(Protocol):
    """What a run tells its user."""

    def say(self, text: str) -> None:
        """One line that stays."""

    @contextmanager
    def task(self, title: str, total: int | None, done: int = 0) -> Iterator[Any]:
        """A bar; the value is a function (done, detail) that moves it."""


def open_tested_site(site: SiteConfig, study: StudyConfig, root: Path, cache: Path | None) -> SiteImages:
    """The site's images, checked for being enough to train on and to measure with.

    Raises:
        DataError, ManifestError, TooFewImagesError: as `client.site.open_site`; the last also without test images.
    """
    images = open_site(site, study, root, cache)
    if not len(images.test):
        raise TooFewImagesError(
            f"site '{site.data.site}' has no test images", "give some healthy and anomalous images the split test"
        )
    return images


@dataclass
class SiteRun:
    """A run in a folder of its own.

    Attributes:
        site, study, images, runtime, perceptual: what runs on what.
        out: the run's folder.
        reporter: told what goes on.
    """

    site: SiteConfig
    study: StudyConfig
    images: SiteImages
    runtime: Runtime
    perceptual: Perceptual
    out: Path
    reporter: Reporter
    _seconds: float = 0.0
    _clock: float = 0.0

    def run(self) -> Evaluation:
        """Train, or go on training, then measure and write everything.

        Raises:
            ResumeError: the folder holds another run or a damaged checkpoint, or another process is at work in it.
            NonFiniteError: training diverged.
        """
        self._read_images()
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.out / ".lock", timeout=0):
                return self._run()
        except Timeout:
            raise ResumeError(
                f"{self.out}: another process is at work in it", "wait for it, or give another --out"
            ) from None

    def _run(self) -> Evaluation:
        record = self._claim_folder()
        trainer = self._trainer()
        self._train(trainer)
        record["seconds"]["training"] = self._seconds
        self._write_record(record)

        begun = time.monotonic()
        evaluation = self._evaluate(trainer)
        self._write_outputs(trainer, evaluation)
        record["seconds"]["evaluation"] = time.monotonic() - begun
        outcome = {
            "status": "completed",
            "model_hash": model_hash(trainer.method),
            "chosen_scoring": evaluation.chosen.name,
            "synthetic_auroc": dict(evaluation.synthetic),
        }
        self._write_record(record | outcome)
        return evaluation

    def _read_images(self) -> None:
        for split in ("train", "val", "test"):
            images = getattr(self.images, split)
            with self.reporter.task(f"reading {split} images", len(images)) as move:
                images.prepare(lambda done, _total, move=move: move(done, ""))

    def _claim_folder(self) -> dict[str, Any]:
        """The run's record: fresh, or that of the same run begun earlier."""
        plan = {
            "site": self.site.data.site,
            "study": self.study.model_dump(mode="json"),
            "runtime": self.runtime.record(),
            "perceptual_hash": self.perceptual.digest,
            "data": {split: getattr(self.images, split).fingerprint() for split in ("train", "val", "test")},
            "software": software_versions(),
        }
        record: dict[str, Any] = {
            "plan": plan,
            "status": "training",
            "seconds": {"training": 0.0, "evaluation": 0.0},
        }
        path = self.out / "run.json"
        if path.exists():
            record = self._earlier_record(path, plan) | {"status": "training"}
        for folder in (self.out, self.out / "model", self.out / "calibration"):
            sweep(folder)
        self._write_record(record)
        return record

    def _earlier_record(self, path: Path, plan: dict[str, Any]) -> dict[str, Any]:
        hint = f"give another --out, or delete {self.out} to start afresh"
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            earlier = record["plan"]
            changed = sorted(key for key in plan if earlier.get(key) != plan[key])
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            raise ResumeError(f"{path}: is no record of a run", hint) from None
        if changed:
            raise ResumeError(f"{self.out}: holds a run with another {', '.join(changed)}", hint)
        return record

    def _trainer(self) -> LocalTrainer:
        """A trainer, restored from the last checkpoint if there is one."""
        study = self.study
        method = build_method(study.method, study.preprocessing.size, study.seed)
        trainer = LocalTrainer(method, self.images.train, self.images.val, study.training, self.runtime, study.seed)
        path = self._checkpoint
        if path.exists():
            try:
                tensors, facts = load_tensors(path)
                trainer.restore(tensors, facts)
                self._seconds = facts["seconds"]
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise ResumeError(
                    f"{path}: can't be resumed from ({type(error).__name__})", f"delete {self.out} and start afresh"
                ) from None
            self.reporter.say(f"going on from step {trainer.step}")
        self._clock = time.monotonic()
        return trainer

    def _train(self, trainer: LocalTrainer) -> None:
        steps, every = self.study.training.steps, self.study.training.checkpoint_every
        with self.reporter.task("training", steps, trainer.step) as move, graceful_stop() as stop:

            def on_step(trainer: LocalTrainer, terms: dict[str, float]) -> None:
                move(trainer.step, _summary(terms))
                if trainer.step % every == 0 or trainer.step == steps:
                    self._save(trainer)

            trainer.run(steps, on_step, stop)
            if stop():
                self._save(trainer)
                raise KeyboardInterrupt
        trainer.select_best()

    def _save(self, trainer: LocalTrainer) -> None:
        now = time.monotonic()
        self._seconds, self._clock = self._seconds + now - self._clock, now
        save_tensors(self._checkpoint, trainer.tensors(), trainer.facts() | {"seconds": self._seconds})

    def _evaluate(self, trainer: LocalTrainer) -> Evaluation:
        site, study = self.images.site, self.study
        table = Table("local", site, site, study.seed, study.evaluation)
        with self.reporter.task("evaluating", None) as move:
            evaluation = evaluate(
                trainer.method,
                study.method.name,
                Scorer(self.perceptual),
                self.images,
                table,
                device=self.runtime.device,
                progress=lambda what: move(0, what),
            )
            evaluation.rows.extend(evaluate_baselines(self.images, table, lambda what: move(0, what)))
        return evaluation

    def _write_outputs(self, trainer: LocalTrainer, evaluation: Evaluation) -> None:
        write_results(self.out / "results.csv", evaluation.rows)
        write_atomically(self.out / "training.csv", _history_csv(trainer.history))
        card = self._card(trainer, evaluation)
        save_artifact(self.out / "model", Artifact(trainer.method, card))
        calibration = evaluation.calibration(self.study.perceptual.net, card.model_hash)
        save_calibration(self.out / "calibration", calibration)
        title = f"{self.site.name}: {self.study.method.name}, test images evenly spaced by score"
        gallery = draw_gallery(self.images.test, evaluation, self.study.evaluation.gallery, title)
        write_atomically(self.out / "gallery.png", gallery)

    def _card(self, trainer: LocalTrainer, evaluation: Evaluation) -> Card:
        chosen, site = evaluation.chosen, self.images.site
        return Card(
            method=self.study.method,
            preprocessing=self.study.preprocessing,
            seed=self.study.seed,
            arm="local",
            steps=trainer.step,
            rounds=1,
            selected=trainer.best_step,
            sites=(site,),
            data=(_summarise(self.images),),
            runtime=self.runtime.record(),
            software=software_versions(),
            metrics=tuple(
                {
                    "metric": r.metric,
                    "anomaly": r.anomaly,
                    "value": r.value,
                    "ci": [r.ci_low, r.ci_high],
                    "n_healthy": r.n_healthy,
                    "n_anomalous": r.n_anomalous,
                    "note": r.note,
                }
                for r in evaluation.rows
                if r.method == self.study.method.name and r.scoring == chosen.name
            ),
            model_hash=model_hash(trainer.method),
        )

    def _write_record(self, record: dict[str, Any]) -> None:
        write_atomically(self.out / "run.json", (json.dumps(record, indent=2) + "\n").encode())

    @property
    def _checkpoint(self) -> Path:
        return self.out / "checkpoint.safetensors"


def _summarise(images: SiteImages) -> DataSummary:
    return DataSummary(
        site=images.site,
        train_images=len(images.train),
        train_patients=len({row.patient_id for row in images.train.rows}),
        val_images=len(images.val),
        val_patients=len({row.patient_id for row in images.val.rows}),
    )


def _summary(terms: dict[str, float]) -> str:
    shown = {"error": "error", "kl_real": "KL real", "kl_fake": "KL fake", "validation_error": "validation"}
    return ", ".join(f"{label} {terms[name]:.4g}" for name, label in shown.items() if name in terms)


def _history_csv(history: list[dict[str, float]]) -> bytes:
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue().encode()
