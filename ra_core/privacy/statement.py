"""What a model's card says of differential privacy: numbers of each site, what they rest on, what they don't cover."""

from __future__ import annotations

from ra_core.privacy.settings import Delta
from ra_core.settings import Config

__all__ = ["ALWAYS_OUTSIDE", "ASSUMPTIONS", "PrivacyStatement", "SitePrivacy"]

ASSUMPTIONS = (
    "Neighbours are a site's training images with and without all images of one patient, as patient_id tells patients "
    "apart. Who is a patient at two sites under two ids has the sum of both epsilons.",
    "Each step draws each patient in secret, with the same chance, from the operating system's generator, and takes an "
    "image of each; the noise on each sum of clipped gradients is normal and from the same generator.",
    "Encoder and decoder steps draw patients of their own and count as two releases; a step of both together as one.",
    "Epsilon is of all that the site has paid for in this run, as it last told, with an update that counted or in the "
    "closing exchange; rounds that were repeated or came to nothing count. Other runs add to it: the site's ledger "
    "has all.",
    "Arithmetic is in floating point: no proof covers its rounding.",
)

ALWAYS_OUTSIDE = (
    "whether and when a site answers, and the kind of an error",
    "that a site has not fewer patients and images than its policy asks for",
    "scorings, thresholds and statistics that a site makes for its own use of the model; they stay there",
)


class SitePrivacy(Config):
    """Differential privacy of a patient of one site.

    Attributes:
        site: its name.
        epsilon, delta: of all that it has paid for in the run.
        noise_multiplier: of its last round; a policy may raise it.
        outside: what it has told in the run that no epsilon covers.
    """

    site: str
    epsilon: float
    delta: Delta
    noise_multiplier: float
    outside: tuple[str, ...]


class PrivacyStatement(Config):
    """Differential privacy of a model.

    Attributes:
        sites: one each.
        clip_norm, sampling_rate: as in the study.
        spare_rounds: that the noise had room for beyond those of the study; 0 where the noise was given.
        accountant: how epsilon was computed.
        selection: how the model was chosen, which no epsilon covers where it is by an error that a site has told.
        assumptions: what epsilon rests on.
        outside: what no epsilon covers, at all sites.
    """

    sites: tuple[SitePrivacy, ...]
    clip_norm: float
    sampling_rate: float
    spare_rounds: int
    accountant: str
    selection: str
    assumptions: tuple[str, ...] = ASSUMPTIONS
    outside: tuple[str, ...] = ALWAYS_OUTSIDE
