"""The chosen model as a file, and its card: what it is and how it came about, in counts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from ra_core.artifact import Artifact, Card, DataSummary, save_artifact
from ra_core.config import StudyConfig
from ra_core.hashing import array_digest
from ra_core.messages import JoinReply
from ra_core.models.features import features_hash
from ra_core.models.registry import build_method
from ra_core.models.shared import load_shared, shared_tensors
from ra_core.privacy.accounting import METHOD
from ra_core.privacy.statement import PrivacyStatement, SitePrivacy
from ra_core.runtime import software_versions
from server.rounds.progress import Privacy, Progress

__all__ = ["common", "model_card", "save_model"]


def save_model(folder: Path, study: StudyConfig, progress: Progress) -> None:
    """Write the best model to a folder; nothing where layers stay at the sites: then the server has no whole model.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    method = build_method(study.method, study.preprocessing.size, study.seed)
    if shared_tensors(method).keys() != progress.best.keys():
        return
    load_shared(method, study.federation, {name: torch.from_numpy(array) for name, array in progress.best.items()})
    save_artifact(folder, Artifact(method.eval(), model_card(study, progress)))


def model_card(study: StudyConfig, progress: Progress) -> Card:
    """Of the best model; its sites are those whose answers count in it.

    Raises:
        WeightsError: the method looks at images through a pretrained network that this machine doesn't have.
    """
    teachers = [site for site in sorted(progress.joined) if progress.counted(site, progress.best_round)]
    told = [progress.joined[site] for site in teachers]
    return Card(
        method=study.method,
        preprocessing=study.preprocessing,
        seed=study.seed,
        arm="federated",
        steps=progress.round * study.federation.local_steps,
        rounds=progress.round,
        selected=progress.best_round,
        sites=tuple(teachers),
        anatomy=common(reply.anatomy for reply in told),
        modality=common(reply.modality for reply in told),
        data=tuple(_summary(reply) for reply in told),
        runtime={"precision": study.training.precision},
        software=software_versions(study.method),
        metrics=tuple(_errors(progress)),
        model_hash=array_digest(progress.best),
        features=features_hash(study.method),
        privacy=_privacy(study, progress),
        calibration=progress.calibration,
    )


def _summary(reply: JoinReply) -> DataSummary:
    return DataSummary(
        site=reply.site,
        train_images=reply.n_images,
        train_patients=reply.n_patients,
        val_images=reply.n_val,
        val_patients=reply.n_val_patients,
        used_files=reply.n_used,
        declared_files=reply.n_declared,
    )


def _privacy(study: StudyConfig, progress: Progress) -> PrivacyStatement | None:
    """Of every site that has told what it spent, in the model or not; None without differential privacy."""
    if study.dp is None:
        return None
    told: dict[str, Privacy] = {}
    for site, numbers in (pair for record in progress.records for pair in record.privacy.items()):
        told[site] = max(numbers, told.get(site, numbers))  # the largest epsilon
    told_of = (found for record in progress.records for found in (*record.by_site.values(), record.means))
    by_error = any("validation_error" in found for found in told_of)
    return PrivacyStatement(
        sites=tuple(
            SitePrivacy(
                site=site,
                epsilon=epsilon,
                delta=delta,
                noise_multiplier=noise,
                outside=tuple(_outside(site, progress)),
            )
            for site, (epsilon, delta, noise) in sorted(told.items())
        ),
        clip_norm=study.dp.clip_norm,
        sampling_rate=study.dp.sampling_rate,
        spare_rounds=study.dp.spare_rounds if study.dp.noise_multiplier is None else 0,
        accountant=METHOD,
        selection="lowest validation error that sites have told" if by_error else "the latest model",
    )


def _outside(site: str, progress: Progress) -> list[str]:
    """What a site has told that no epsilon covers."""
    metrics = {name for record in progress.records for name in record.by_site.get(site, ())}
    masked = (record for record in progress.records if site in record.answered)
    metrics |= {f"{name}, under masks" for record in masked for name in record.means}
    counts = progress.joined[site].n_images or any(record.images.get(site) for record in progress.records)
    found = progress.calibration
    told = found is not None and any(thresholds.site == site for thresholds in found.sites)
    scores = ["histograms of scores, and counts of patients above thresholds"] if told else []
    return [*(["counts of images, patients and files"] if counts else []), *sorted(metrics), *scores]


def _errors(progress: Progress) -> Iterable[dict[str, object]]:
    """Validation error at each site that tells it, or over all with secure aggregation, as the model was judged."""
    judged = [record for record in progress.records if record.round == progress.best_round + 1 and record.answered]
    together = [("all sites together", record.means) for record in judged if record.means]
    for site, metrics in [*(pair for record in judged for pair in record.by_site.items()), *together]:
        if "validation_error" in metrics:
            yield {"test_site": site, "metric": "validation_error", "value": metrics["validation_error"]}


def common(values: Iterable[str]) -> str:
    """The one value that all have; empty where they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else ""
