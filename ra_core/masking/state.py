"""What a site keeps to itself between two messages of a masked round."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from ra_core.masking.messages import Announcement, Key, SiteName
from ra_core.masking.terms import Terms

__all__ = ["MemberState", "Stage"]

Stage = Literal["announced", "dealt", "masked", "confirmed", "revealed"]


class MemberState(BaseModel):
    """A site's secrets and what it has said so far, as JSON between two messages.

    Secret, and deleted when the round has ended. It has to be stored durably before the message that came with it may
    leave, and an older one is never used again: that no question is answered twice is what the masks rest on.

    Attributes:
        terms: of the round.
        site: whose it is.
        stage: the last message that was made.
        masking, sharing: private keys.
        seed: of the self mask.
        announcements: of all sites, checked; at first this site's own.
        shares: by dealer, this site's share of its seed and of its masking key.
        survivors, dropped: the division that it has confirmed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    terms: Terms
    site: SiteName
    stage: Stage
    masking: Key
    sharing: Key
    seed: Key
    announcements: tuple[Announcement, ...]
    shares: dict[SiteName, tuple[Key, Key]] = {}
    survivors: tuple[SiteName, ...] = ()
    dropped: tuple[SiteName, ...] = ()
