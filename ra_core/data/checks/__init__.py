"""Checks of a site's data before it trains: functions of a scan. Findings hold file names: they are site-only."""

from ra_core.data.checks.check import check
from ra_core.data.checks.counts import Counts
from ra_core.data.checks.finding import Code, Finding, Level, Mention
from ra_core.data.checks.pictures import Pictures
from ra_core.data.checks.profile import Profile

__all__ = ["Code", "Counts", "Finding", "Level", "Mention", "Pictures", "Profile", "check"]
