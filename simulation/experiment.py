"""An experiment: several models on one budget, measured at every site, told on one page.

It stops at any moment and goes on where it was; the same settings, data and seed give the same `results.csv`.
"""

from __future__ import annotations

import csv
import io
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ra_core.artifact import Artifact, Card, save_artifact
from ra_core.baselines import evaluate_baselines
from ra_core.calibration import Calibration, save_calibration
from ra_core.calibration.calibrating import own_calibration
from ra_core.config import StudyConfig
from ra_core.data import JoinedImages
from ra_core.errors import ConfigError, TooFewImagesError
from ra_core.evaluation import CHOSEN_NOTE, Evaluation, evaluate
from ra_core.files import write_atomically
from ra_core.models.features import features_hash, network_hash
from ra_core.perceptual import Perceptual
from ra_core.results import ResultRow, average_rows, write_results
from ra_core.runtime import Runtime, software_versions
from ra_core.scoring import Scorer
from ra_core.table import Table
from server.rounds.card import common
from server.rounds.outcome import shortfalls
from simulation.arms import Arm, Engine, Reporter, Trained, train_alone, train_federated
from simulation.config import ExperimentConfig
from simulation.engines import Node
from simulation.places import Place, read_images
from simulation.report import CHOSEN, ArmFacts, Gallery, ReportData, draw_gallery, write_report
from simulation.run_folder import RunFolder

__all__ = ["Experiment"]

AVERAGE = "average of {} sites"
"""`test_site` of an average."""


@dataclass
class Experiment:
    """An experiment in a folder of its own.

    Attributes:
        config: what is trained and measured.
        places: its sites, opened.
        cache: folder for preprocessed images.
        perceptual: network behind LPIPS.
        runtime: the machine.
        out: the experiment's folder.
        engine: what runs a federation.
        command: what was typed.
        reporter: told what goes on.
    """

    config: ExperimentConfig
    places: Sequence[Place]
    cache: Path
    perceptual: Perceptual
    runtime: Runtime
    out: Path
    engine: Engine
    command: str
    reporter: Reporter

    def run(self) -> list[ResultRow]:
        """Train what isn't trained yet, measure and write everything.

        Raises:
            ConfigError: a local model is asked of no site that is trained on.
            TooFewImagesError: a site has nothing to be measured on.
            ResumeError: the folder holds another run or a damaged checkpoint, or another process is at work in it.
            RAError: of any kind: what ended training early; the record tells it too.
        """
        arms = self._arms()
        untested = [place.name for place in self.places if not len(place.images.test)]
        if untested:
            raise TooFewImagesError(
                f"site '{untested[0]}' has no test images", "give some healthy and anomalous images the split test"
            )
        begun = time.monotonic()
        read_images(self.places, self.reporter)
        reading = time.monotonic() - begun
        with RunFolder.claimed(self.out, self._plan(arms)) as folder:
            folder.took("reading images", reading)
            trained = []
            for arm in arms:
                with folder.timed(f"training {arm.name}"):
                    trained.append(self._train(arm))
            with folder.timed("evaluation", anew=True):
                found = self._evaluate(trained)
            facts = self._outcome(trained, found)
            self._write(trained, found, folder.record | facts)
            folder.write(**facts)  # last: what is called completed is all there
        return found.rows

    def _outcome(self, trained: Sequence[Trained], found: _Found) -> dict[str, Any]:
        """What the record tells of a run that came to its end."""
        absent = [reason for model in trained for reason in shortfalls(model.records)]
        return {
            "status": "degraded" if absent else "completed",
            "command": self.command,
            "absent": absent,
            "model_hash": {model.arm.name: model.model_hash for model in trained},
            "chosen_scoring": {model.arm.name: found.chosen(model.arm) for model in trained},
        }

    @property
    def study(self) -> StudyConfig:
        """With the precision in force, so that every site computes in the same."""
        training = self.config.study.training.model_copy(update={"precision": self.runtime.precision})
        return self.config.study.model_copy(update={"training": training})

    def _arms(self) -> list[Arm]:
        trained = tuple(place.name for place in self.places if place.trained)
        unknown = sorted(set(self.config.local) - {p.name for p in self.places if not p.borrows})
        if unknown:
            raise ConfigError(f"local: '{unknown[0]}' is no site with healthy images here", "name sites of this file")
        if not trained and (self.config.federated or self.config.pooled):
            raise ConfigError("all sites are held out: nothing can be trained", "set held_out: false somewhere")
        arms = [Arm("federated", trained)] if self.config.federated else []
        arms += [Arm("pooled", trained)] if self.config.pooled else []
        return arms + [Arm("local", (name,)) for name in self.config.local]

    def _plan(self, arms: Sequence[Arm]) -> dict[str, Any]:
        return {
            "title": self.config.title,
            "sites": {place.name: {"trained": place.trained, "healthy_of": place.reference} for place in self.places},
            "arms": [{"name": arm.name, "sites": list(arm.sites)} for arm in arms],
            "study": self.study.model_dump(mode="json"),
            "runtime": self.runtime.record(),
            "perceptual_hash": self.perceptual.digest,
            "features_hash": network_hash(self.study.method),
            "data": {
                place.name: {split: getattr(place.images, split).fingerprint() for split in ("train", "val", "test")}
                for place in self.places
            },
            "software": software_versions(self.study.method),
        }

    def _train(self, arm: Arm) -> Trained:
        folder = self.out / "arms" / arm.folder
        members = [place for place in self.places if place.name in arm.sites]
        if arm.kind == "federated":
            nodes = [Node(p.name, p.file, p.root, folder / "sites", self.cache) for p in members]
            return train_federated(arm, nodes, self.study, self.config.runtime, folder, self.engine, self.reporter)
        train, val = JoinedImages.train_and_val([place.images for place in members])
        return train_alone(arm, train, val, self.study, self.runtime, folder, self.reporter)

    def _evaluate(self, trained: Sequence[Trained]) -> _Found:
        """All models and the baselines at all sites."""
        found, scorer, count = _Found([], {}, []), Scorer(self.perceptual), itertools.count()
        with self.reporter.task("measuring", (len(trained) + 1) * len(self.places)) as move:
            for place in self.places:
                for model in trained:
                    move(next(count), f"{model.arm.name} at {place.name}")
                    table = self._table(model.arm.kind, model.arm.train_sites, place)
                    device = self.runtime.device
                    name = self.study.method.name
                    model.method.to(device)
                    known = place.reference in model.arm.sites
                    evaluation = evaluate(model.method, name, scorer, place.images, table, device=device, known=known)
                    found.by_place[model.arm, place.name] = evaluation
                    found.rows.extend(evaluation.rows)
                    if model is trained[0] and place.config.data.pictures:
                        found.galleries.append(self._gallery(model.arm, place, evaluation))
                move(next(count), f"simple baselines at {place.name}")
                table = self._table("local", place.reference, place)
                found.rows.extend(evaluate_baselines(place.images, table, without=self.study.method.name))
            move(next(count), "")
        found.rows.extend(self._averages(found.rows))
        return found

    def _table(self, kind: str, train_sites: str, place: Place) -> Table:
        return Table(kind, train_sites, place.name, self.study.seed, self.study.evaluation, place.note, place.borrows)

    def _averages(self, rows: Sequence[ResultRow]) -> list[ResultRow]:
        """Over the sites that models were trained on, and over the others; without sites that borrow healthy images."""
        averages, any_table = [], self._table("local", "", self.places[0])
        for kind, trained in (("trained", True), ("held-out", False)):
            names = [p.name for p in self.places if p.trained is trained and not p.borrows]
            if len(names) > 1:
                own = [row for row in rows if row.test_site in names]
                averages += average_rows([*own, *_chosen(own)], AVERAGE.format(kind), **any_table.settings)
        return averages

    def _gallery(self, arm: Arm, place: Place, evaluation: Evaluation) -> Gallery:
        title = f"{place.config.name}, {arm.name} {self.study.method.name}: test images evenly spaced by score"
        png = draw_gallery(place.images.test, evaluation, self.study.evaluation.gallery, title)
        scoring = evaluation.chosen.name
        return Gallery(arm.name, place.name, scoring, evaluation.pixel_thresholds[scoring], png)

    def _write(self, trained: Sequence[Trained], found: _Found, record: Mapping[str, Any]) -> None:
        write_results(self.out / "results.csv", found.rows)
        for gallery in found.galleries:
            write_atomically(self.out / "galleries" / f"{gallery.site}.png", gallery.png)
        for model in trained:
            name = model.arm.folder
            write_atomically(self.out / "arms" / name / "training.csv", _history_csv(model.history))
            if self.study.method.local_only:  # then nothing of it can be used elsewhere
                continue
            save_artifact(self.out / "models" / name, Artifact(model.method, self._card(model, found)))
            for place in self.places:
                calibration = self._calibration(model, place, found.by_place[model.arm, place.name])
                save_calibration(self.out / "calibration" / name / place.name, calibration)
        write_report(self.out / "report.html", self._report(trained, found, record))

    def _calibration(self, model: Trained, place: Place, evaluation: Evaluation) -> Calibration:
        """What a site scores with: it is no part of the tables, whose thresholds are plain quantiles."""
        return own_calibration(
            place.reference,
            evaluation.scorer,
            evaluation.chosen,
            place.images,
            self.study.evaluation,
            self.study.perceptual.net,
            model.model_hash,
        )

    def _card(self, model: Trained, found: _Found) -> Card:
        chosen = found.chosen(model.arm)
        teachers = [place for place in self.places if place.name in model.arm.sites]
        told = (
            row
            for row in found.rows
            if (row.arm, row.train_sites, row.method) == (model.arm.kind, model.arm.train_sites, self.study.method.name)
            and row.scoring == chosen.get(row.test_site)
        )
        return Card(
            method=self.study.method,
            preprocessing=self.study.preprocessing,
            seed=self.study.seed,
            arm=model.arm.kind,
            steps=self.study.training.steps,
            rounds=self.study.federation.rounds if model.records else 1,
            selected=model.selected,
            sites=model.arm.sites,
            anatomy=common(place.config.anatomy for place in teachers),
            modality=common(place.config.modality for place in teachers),
            data=tuple(place.summary for place in teachers),
            runtime=self.runtime.record(),
            software=software_versions(self.study.method),
            metrics=tuple(
                {
                    "test_site": row.test_site,
                    "scoring": row.scoring,
                    "metric": row.metric,
                    "anomaly": row.anomaly,
                    "value": row.value,
                    "ci": [row.ci_low, row.ci_high],
                    "n_healthy": row.n_healthy,
                    "n_anomalous": row.n_anomalous,
                    "note": row.note,
                }
                for row in told
            ),
            model_hash=model.model_hash,
            features=features_hash(self.study.method),
            calibration=model.calibration,
        )

    def _report(self, trained: Sequence[Trained], found: _Found, record: Mapping[str, Any]) -> ReportData:
        plan = record["plan"]
        return ReportData(
            title=self.config.title,
            command=self.command,
            record={**record, "software": plan["software"], "runtime": plan["runtime"]},
            rows=[*found.rows],
            sites=[place.facts() for place in self.places],
            arms=[self._facts(model, found, record["seconds"]) for model in trained],
            galleries=found.galleries,
        )

    def _facts(self, model: Trained, found: _Found, seconds: Mapping[str, float]) -> ArmFacts:
        return ArmFacts(
            name=model.arm.name,
            kind=model.arm.kind,
            train_sites=model.arm.train_sites,
            steps=self.study.training.steps,
            selected=model.selection,
            model_hash=model.model_hash,
            seconds=seconds[f"training {model.arm.name}"],
            history=model.history,
            rounds=model.records,
            chosen=found.chosen(model.arm),
            warmup_steps=self.study.method.unselectable_steps,
        )


@dataclass(frozen=True)
class _Found:
    """What evaluation found: all rows, an evaluation a model and site, pictures of the first model."""

    rows: list[ResultRow]
    by_place: dict[tuple[Arm, str], Evaluation]
    galleries: list[Gallery]

    def chosen(self, arm: Arm) -> dict[str, str]:
        """Names of the scorings that a model's sites have chosen, by site."""
        return {place: evaluation.chosen.name for (of, place), evaluation in self.by_place.items() if of == arm}


def _chosen(rows: Sequence[ResultRow]) -> Iterator[ResultRow]:
    """Rows of the scoring that each site chose, under one name, so that they can be averaged."""
    for row in rows:
        if CHOSEN_NOTE in row.remark:
            yield replace(row, scoring=CHOSEN)


def _history_csv(history: Sequence[Mapping[str, float]]) -> bytes:
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue().encode()
