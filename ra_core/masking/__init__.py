"""Secure aggregation: the server learns the sum of the sites' figures and nothing of a single site's.

`docs/secure_aggregation.md` tells the protocol, what it protects against and what it does not.
"""

from ra_core.masking.figures import Figures, Totals, round_layout
from ra_core.masking.layout import Layout
from ra_core.masking.member import Member
from ra_core.masking.messages import Announcement, Confirmation, Dealing, MaskedInput, Reveal
from ra_core.masking.roll import Roll, check_announcement
from ra_core.masking.state import MemberState
from ra_core.masking.tally import Tally
from ra_core.masking.terms import Terms

__all__ = [
    "Announcement",
    "Confirmation",
    "Dealing",
    "Figures",
    "Layout",
    "MaskedInput",
    "Member",
    "MemberState",
    "Reveal",
    "Roll",
    "Tally",
    "Terms",
    "Totals",
    "check_announcement",
    "round_layout",
]
