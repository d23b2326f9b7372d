"""What a report is made of: everything on the page comes from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ra_core.results import ResultRow
from server.rounds.progress import RoundRecord

__all__ = ["CHOSEN", "ArmFacts", "Gallery", "ReportData", "SiteFacts"]

CHOSEN = "chosen"
"""`scoring` of an average over the scorings that the sites chose, also where all chose the same: one row more."""


@dataclass(frozen=True)
class SiteFacts:
    """One site.

    Attributes:
        name: as in the rows' `train_sites` and `test_site`.
        title: for people.
        role: whether federated and pooled models were trained on it.
        anatomy, modality: of its images.
        n_train, n_val, n_test_healthy, n_test_anomalous: images.
        used_files, declared_files: files that are used, of those that ought to be images.
        reference: site whose healthy images serve for thresholds and baselines; its own name as a rule.
        pictures: whether its images may be shown.
    """

    name: str
    title: str
    role: Literal["trained", "held out"]
    anatomy: str
    modality: str
    n_train: int
    n_val: int
    n_test_healthy: int
    n_test_anomalous: int
    used_files: int
    declared_files: int
    reference: str
    pictures: bool


@dataclass(frozen=True)
class ArmFacts:
    """One trained model.

    Attributes:
        name: for people, for example "federated" or "local: mr_t1".
        kind: the rows' `arm`.
        train_sites: the rows' `train_sites`.
        steps: optimizer steps in all.
        selected: which weights were kept, "round 12 of 20" or "step 3500 of 4000".
        model_hash: hex digits.
        seconds: spent on training.
        history: rows of `step` and loss terms; a row may lack some.
        rounds: exchanges of a federation; empty elsewhere.
        chosen: the scoring chosen on synthetic anomalies, by test site. At any other place (an average) the chosen
            one is found in rows whose scoring is `CHOSEN`.
        warmup_steps: first steps, from which no weights are kept.
    """

    name: str
    kind: Literal["federated", "local", "pooled"]
    train_sites: str
    steps: int
    selected: str
    model_hash: str
    seconds: float
    history: Sequence[Mapping[str, float]]
    rounds: Sequence[RoundRecord]
    chosen: Mapping[str, str]
    warmup_steps: int


@dataclass(frozen=True)
class Gallery:
    """Pictures of one model at one site, as `draw_gallery` makes them.

    Attributes:
        arm, site: names of the model and the site.
        scoring: behind the maps.
        threshold: map value of the white line.
        png: the file's bytes.
    """

    arm: str
    site: str
    scoring: str
    threshold: float
    png: bytes


@dataclass(frozen=True)
class ReportData:
    """An experiment.

    Attributes:
        title: of the page.
        command: what was typed.
        record: run.json: `status`, `plan` (whose `study` is a `StudyConfig` as a mapping), `software` (versions by
            name), `runtime` and `seconds` (by part).
        rows: all numbers.
        sites: trained and held out.
        arms: the first federated one, else the first, is the one that the page is about.
        galleries: in the order shown.
    """

    title: str
    command: str
    record: Mapping[str, Any]
    rows: Sequence[ResultRow]
    sites: Sequence[SiteFacts]
    arms: Sequence[ArmFacts]
    galleries: Sequence[Gallery]
