"""What a federation has found out about a model's thresholds and accuracy, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from ra_core.thresholds.figures import Binned
from ra_core.thresholds.record import ACROSS_SITES, WITHIN_SITES, Achieved, FederatedCalibration, Metric
from ra_core.words import asked, counted, rounded_up

__all__ = ["more_than_asked", "told_of_all", "told_of_metric", "told_of_site"]

NAMES: dict[Metric, str] = {
    "auroc": "AUROC",
    "auprc": "average precision",
    "detection_rate": "found at the sites' thresholds",
    "false_alarm_rate": "false alarms at the sites' thresholds",
}
"""Of metrics."""


def more_than_asked(seen: Achieved | None, rate: float) -> str:
    """That a threshold surely doesn't achieve the rate; empty where it may, and where nobody tried."""
    return f"more above than the {asked(rate)} asked" if seen and seen.low > rate else ""


def told_of_all(found: FederatedCalibration) -> Iterator[str]:
    """One line of how it was measured, and one for each metric: within and across sites, and of how many patients."""
    several = {"study": "studies", "slice": "pictures"}[found.unit]
    rate = f"{asked(found.rate)} of healthy {several} asked"
    yield f"over {counted(len(found.sites), 'site')} by {found.scoring.name}, {rate}"
    yield from filter(None, (told_of_metric(found, metric) for metric in NAMES))


def told_of_metric(found: FederatedCalibration, metric: Metric) -> str:
    """The line of one metric; empty where no site has told what it takes."""
    numbers = {figure.where: figure.number for figure in found.figures if figure.metric == metric}
    if ACROSS_SITES not in numbers:
        return ""
    within, across = numbers.pop(WITHIN_SITES), numbers.pop(ACROSS_SITES)
    left_out = [site for site, number in numbers.items() if number.value is None]
    mean = f"mean of {len(numbers) - len(left_out)} of {counted(len(numbers), 'site')}"
    missing = f" (left out: {', '.join(left_out)})" if left_out else ""
    return (
        f"{NAMES[metric]}: within sites {_number(within)}, {mean}{missing}, {_patients(within)}; "
        f"across sites {_number(across)}, {_patients(across)}"
    )


def told_of_site(found: FederatedCalibration, site: str) -> Iterator[str]:
    """The same of one site; nothing where it has told nothing."""
    for figure in found.figures:
        if figure.where == site:
            told = "" if figure.number.value is None else _number(figure.number)
            yield f"{NAMES[figure.metric]}: {'; '.join(filter(None, (told, figure.number.note)))}"


def _patients(number: Binned) -> str:
    return f"{number.n_healthy} healthy and {number.n_anomalous} anomalous patients"


def _number(number: Binned) -> str:
    """With interval, and what the cells of histograms may have moved it by."""
    if number.value is None:
        return "not estimable"
    interval = "" if number.low is None or number.high is None else f"{number.low:.2f} to {number.high:.2f}"
    cells = f"cells may have moved it by {rounded_up(number.bound, 3)}" if number.bound else ""
    about = ", ".join(part for part in (interval, cells) if part)
    return f"{number.value:.2f} ({about})" if about else f"{number.value:.2f}"
