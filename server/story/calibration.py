"""What came of a run's calibration: in a line, and as the card of its model has it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from ra_core.files import LARGE, read_bounded
from ra_core.thresholds.record import FederatedCalibration
from server.run_files import RESULT
from server.story.fields import Fields

__all__ = ["calibrated", "calibration_of"]


def calibrated(event: Fields) -> str:
    """For example "calibrated at 5 % false alarms: anna 1 of 40 above; without clara (not connected)"."""
    rate = event.number("rate")
    asked = "" if rate is None else f" at {100 * rate:.3g} % false alarms"
    sites = [f"{site} {what}" for site, what in event.texts("achieved").items()]
    absent = [f"{site} ({why})" for site, why in event.texts("absent").items()]
    parts = [", ".join(sites) or "at no site", f"without {', '.join(absent)}" if absent else ""]
    return f"calibrated{asked}: {'; '.join(part for part in parts if part)}"


def calibration_of(folder: Path) -> FederatedCalibration | None:
    """What the run's record holds of it, which is what the card holds; None where it holds nothing that can be read.

    Args:
        folder: of the run.
    """
    with suppress(OSError, ValueError, LookupError, TypeError):
        found = json.loads(read_bounded(folder / RESULT, LARGE))["calibration"]
        return None if found is None else FederatedCalibration.model_validate(found)
    return None
