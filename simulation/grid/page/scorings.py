"""How each model is scored: what healthy validation images with synthetic anomalies chose, site by site."""

from __future__ import annotations

import statistics
from functools import partial

from simulation.grid.page.chapter import all_sites
from simulation.grid.page.data import FEDERATED, StudyData
from simulation.report.cells import Cell
from simulation.report.sections import Section
from simulation.report.tables import Wanted, table

__all__ = ["scored_apart", "scorings"]


def scorings(data: StudyData) -> Section | None:
    """The scoring chosen for each model at each site, with its AUROC on synthetic anomalies."""
    rows = [
        Wanted(f"{data.label(name)}, {arm}", data.kind(name), partial(_chosen, data, name, arm))
        for name in data.methods
        for arm in data.answers.arms
    ]
    places = all_sites(data)
    made = table("Scoring chosen, and its AUROC on synthetic anomalies", places, rows, _counts)
    text = (
        "Healthy validation images, once as they are and once with a synthetic anomaly of each kind put in, chose the "
        "scoring of a model at a site; the number is what it has there, averaged over kinds and seeds. Where two "
        "models are scored differently, their difference is that of the scorings too: the columns of fixed scorings "
        "tell the two apart."
    )
    return Section("How each model is scored", text, [made], []) if made else None


def scored_apart(data: StudyData) -> dict[str, dict[str, list[str]]]:
    """Sites at which the study's main method is scored differently by how it was trained: site, scorings, ways."""
    found: dict[str, dict[str, list[str]]] = {}
    for site in (*data.trained, *data.answers.held_out):
        ways: dict[str, list[str]] = {}
        for arm in ("pooled", "local", *FEDERATED):
            if names := _names(data, data.subject, arm, site):
                ways.setdefault(" or ".join(names), []).append(arm)
        if len(ways) > 1:
            found[site] = ways
    return found


def _chosen(data: StudyData, method: str, arm: str, site: str) -> Cell | None:
    names = _names(data, method, arm, site)
    if not names:
        return None
    found = [r.synthetic.get(site) for r in data.answers.models(method, arm, site)]
    known = [one for one in found if one is not None]
    value = statistics.fmean(known) if len(known) == len(found) else None
    images = {facts.name: facts for facts in data.sites.facts}
    lender = images[site].reference
    note = f"validation images of {lender}" if lender != site else ""
    return Cell(value, None, None, images[lender].n_val, 0, note, extra=" or ".join(names), lack="–")


def _counts(cell: Cell) -> str:
    return f"{cell.n_healthy} validation images"


def _names(data: StudyData, method: str, arm: str, site: str) -> list[str]:
    """Scorings chosen, of one seed or of several."""
    return sorted({r.chosen[site] for r in data.answers.models(method, arm, site) if site in r.chosen})
