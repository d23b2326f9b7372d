"""What came of a run's calibration, in a line."""

from __future__ import annotations

from server.story.fields import Fields

__all__ = ["calibrated"]


def calibrated(event: Fields) -> str:
    """For example "calibrated at 5 % false alarms: anna 1 of 40 above; without clara (not connected)"."""
    rate = event.number("rate")
    asked = "" if rate is None else f" at {100 * rate:.3g} % false alarms"
    sites = [f"{site} {what}" for site, what in event.texts("achieved").items()]
    absent = [f"{site} ({why})" for site, why in event.texts("absent").items()]
    parts = [", ".join(sites) or "at no site", f"without {', '.join(absent)}" if absent else ""]
    return f"calibrated{asked}: {'; '.join(part for part in parts if part)}"
