"""What a federation's calibration comes to at sites of every kind: all told, too few patients, one class, absent."""

from collections.abc import Mapping

import numpy as np

from ra_core.messages import ABSENT, CheckReply
from ra_core.scorings import SCORINGS
from ra_core.thresholds import EDGES, Histogram, merged
from ra_core.thresholds.federation import reference_of, thresholds
from ra_core.thresholds.record import FederatedCalibration
from server.rounds.calibrated import completed, places_of

RATE = 0.05


def calibration(sites: Mapping[str, tuple[int, int, int]], absent: Mapping[str, str] | None = None):
    """The record of sites whose healthy patients score alike.

    Args:
        sites: for each site, patients of both halves each, of the second half above all thresholds, and anomalous ones.
        absent: why others have told nothing.
    """
    healthy = {site: Histogram.of(1 + np.arange(n) / max(n, 1)) for site, (n, _, _) in sites.items()}
    reference = reference_of(healthy, RATE)
    found = FederatedCalibration(
        scoring=next(scoring for scoring in SCORINGS if scoring.name == "residual"),
        unit="study",
        rate=RATE,
        reference=reference,
        healthy=merged(healthy.values()).cells,
        sites=thresholds(healthy, reference, RATE, "study"),
    )
    checks = {site.site: _check(site.site, places_of(site, found), *sites[site.site]) for site in found.sites}
    return completed(found, checks, {}, absent or {})


def _check(site, places, n, above, anomalous):
    second = np.append(np.full(n - above, 1.0), np.full(above, 3.0))
    counts = {
        f"above_{way}": ABSENT if place == ABSENT else int((second > EDGES[place]).sum())
        for way, place in places.items()
    }
    return CheckReply(
        site=site,
        study_digest="d",
        model_hash="m",
        n=n,
        withheld="",
        healthy=Histogram.of(second),
        anomalous=Histogram.of(np.linspace(1.5, 4, anomalous)),
        withheld_test="",
        ledger_length=1,
        ledger_head="e" * 64,
        **places,
        **counts,
    )
