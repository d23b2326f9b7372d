"""How the models came about: loss curves, and each site's validation error by round."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from ra_core.words import duration
from server.rounds.progress import RoundRecord
from simulation.report.data import ArmFacts
from simulation.report.figures import Curve, curves
from simulation.report.sections import Panel, Section

__all__ = ["training"]

TERMS = {
    "Reconstruction error": {"error": "training", "validation_error": "validation"},
    "KL divergence": {"kl_real": "images", "kl_reconstructed": "reconstructed", "kl_fake": "generated"},
    "Reversed embedding similarity": {"reversed": "training"},
}
"""Loss terms that are drawn, by figure."""


def training(arms: Sequence[ArmFacts]) -> list[Section]:
    """Loss curves of every model, and for a federation each site's validation error by round."""
    return [
        Section(
            f"RA, {arm.name}",
            f"{arm.steps:,} steps in {duration(arm.seconds)}; kept: {arm.selected}.",
            panels=[*_loss_panels(arm), *_round_panels(arm)],
        )
        for arm in arms
    ]


def _loss_panels(arm: ArmFacts) -> Iterator[Panel]:
    marks = {"warm-up ends": float(arm.warmup_steps)} if arm.warmup_steps else {}
    if selected := _selected(arm):
        done, of = selected
        marks["kept"] = arm.steps * done / of
    for title, terms in TERMS.items():
        lines = [Curve(label, _points(arm.history, term)) for term, label in terms.items()]
        lines = [line for line in lines if line.points]
        if lines:
            yield Panel(title, "", curves(f"{title} of RA, {arm.name}", lines, marks, "steps"))


def _round_panels(arm: ArmFacts) -> Iterator[Panel]:
    told = [record for record in arm.rounds if math.isfinite(record.validation_error)]
    if not told:
        return
    lines = [Curve("all sites", [(_rounds_behind(record), record.validation_error) for record in told])]
    for site in sorted({site for record in told for site in record.by_site}):
        errors = [(_rounds_behind(r), r.by_site.get(site, {}).get("validation_error")) for r in told]
        lines.append(Curve(site, [(done, error) for done, error in errors if error is not None]))
    lines = [line for line in lines if line.points]
    selected = _selected(arm)
    marks = {"kept": float(selected[0])} if selected else {}
    title = "Validation error by site"
    yield Panel(title, "", curves(f"{title} of RA, {arm.name}", lines, marks, "rounds"))


def _rounds_behind(record: RoundRecord) -> int:
    """An exchange judges the model that it sends out, which has one round less behind it."""
    return record.round - 1


def _points(history: Sequence[Mapping[str, float]], term: str) -> list[tuple[float, float]]:
    return [(row["step"], row[term]) for row in history if term in row]


def _selected(arm: ArmFacts) -> tuple[int, int] | None:
    """Number and total of `arm.selected`, if it has this form."""
    found = re.fullmatch(r"(?:round|step) (\d+) of ([1-9]\d*)", arm.selected)
    return (int(found[1]), int(found[2])) if found else None
