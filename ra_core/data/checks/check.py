"""All checks of one site, in one order."""

from __future__ import annotations

from collections.abc import Sequence

from ra_core.config import SiteConfig, StudyConfig
from ra_core.data.checks.boxes import check_boxes
from ra_core.data.checks.counts import check_reading
from ra_core.data.checks.enough import check_enough, check_kept_back
from ra_core.data.checks.finding import Finding, Level
from ra_core.data.checks.healthy import check_healthy
from ra_core.data.checks.masks import check_masks
from ra_core.data.checks.outliers import check_consortium, check_poses, check_usual
from ra_core.data.checks.pictures import Pictures
from ra_core.data.checks.profile import Profile
from ra_core.data.checks.shortcuts import check_shortcuts
from ra_core.data.checks.splits import check_copies, check_left_copies, check_near_copies, check_patients
from ra_core.data.checks.text import check_text
from ra_core.data.manifest import Row
from ra_core.data.readers import Reading
from ra_core.data.scan.records import Scan

__all__ = ["check"]


def check(
    scan: Scan,
    rows: Sequence[Row],
    pictures: Pictures,
    site: SiteConfig,
    study: StudyConfig,
    profile: Profile | None = None,
) -> list[Finding]:
    """What a person at the site has to know before it trains, worst first.

    Args:
        scan: of the files that the rows name, or of a folder.
        rows: split, label and patient of each file that is used, and of others that are named.
        pictures: of this scan and these rows.
        site: its limits.
        study: what is asked of the images.
        profile: of the consortium, where there is one.

    Returns:
        Findings by level, each level in the order of the checks. A site joins only where none is an error.
    """
    found = [
        *check_reading(scan, site.limits.max_lost),
        *check_masks(scan, rows, Reading.of(study.preprocessing, site.limits)),
        *check_boxes(scan, rows, study.preprocessing.size),
        *check_patients(scan, rows),
        *check_left_copies(scan, rows),
        *check_copies(pictures),
        *check_near_copies(pictures),
        *check_enough(pictures, study.evaluation.image_fpr),
        *(check_kept_back(pictures) if study.calibration else ()),
        *check_shortcuts(pictures),
        *check_poses(pictures),
        *check_usual(pictures),
        *(check_consortium(pictures, profile) if profile else ()),
        *check_text(pictures),
        *check_healthy(pictures),
    ]
    return sorted(found, key=lambda finding: list(Level).index(finding.level))
