"""What all sites of a masked round have to agree on, and texts that bind keys to what they are for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

from ra_core.errors import MaskingError
from ra_core.masking.layout import Layout

__all__ = ["FEWEST", "Terms", "canonical", "require_threshold"]

FEWEST = 3
"""Sites in a sum: in a sum of two, each would know the other's figures."""


def canonical(value: object) -> bytes:
    """JSON that is the same for equal values, and different for different ones: what is hashed and signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def require_threshold(threshold: int, sites: int) -> None:
    """Whether so many sites hide one among them, and no two groups of a threshold are without a site in common.

    Raises:
        MaskingError: fewer than three sites, or a threshold that is too low or too high.
    """
    if sites < FEWEST:
        raise MaskingError(f"{sites} sites are too few to hide one among them: {FEWEST} are needed")
    # Two groups of more than half share a site, and no honest site reveals for two different lists.
    least = max(FEWEST, sites // 2 + 1)
    if not least <= threshold <= sites:
        raise MaskingError(f"a threshold of {threshold} for {sites} sites: it has to be from {least} to {sites}")


@dataclass(frozen=True)
class Terms:
    """Each site makes these itself, from its own config and the order; messages hold their digest.

    Attributes:
        run: name of the run.
        round: from 1.
        pins: fingerprint of each agreed site's signing key, as `ra_core.keys.fingerprint` gives it: from the site's own
            config, confirmed on another way than the server.
        threshold: sites that have to answer at every stage, and shares that open a secret.
        layout: of the vector.
        task: digest of what every site is asked to do, with which model; without it a server could give the others a
            model that leaves their updates empty, so that the sum is one site's (Pasquini et al. 2022).

    Raises:
        MaskingError: fewer than three sites, a threshold that is too low or too high, a key of two sites, or a sum that
            may wrap around.
    """

    run: str
    round: int
    pins: Mapping[str, str]
    threshold: int
    layout: Layout
    task: str = ""

    def __post_init__(self) -> None:
        count = len(self.pins)
        require_threshold(self.threshold, count)
        if len(set(self.pins.values())) < count:
            raise MaskingError("two sites are pinned to the same key", "compare the fingerprints with both sites again")
        self.layout.require_room(count)

    @property
    def sites(self) -> tuple[str, ...]:
        """Agreed sites by name; their order gives share numbers and signs of masks."""
        return tuple(sorted(self.pins))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all of it: every message is held against it."""
        return hashlib.sha256(canonical(asdict(self))).hexdigest()

    def context(self, purpose: str, *names: str) -> bytes:
        """What a derived key is bound to: run, round, purpose and sites. No two give the same bytes."""
        return canonical(["federated-ra", purpose, self.run, self.round, *names])

    def require(self, sites: int, what: str) -> None:
        """Refuse to go on with too few.

        Raises:
            MaskingError: fewer than the threshold.
        """
        if sites < self.threshold:
            raise MaskingError(
                f"secure aggregation: {sites} of {len(self.pins)} sites {what}, {self.threshold} are needed",
                "nothing of this round can be opened; mend the sites that are missing",
            )
