"""What releases amount to: (epsilon, delta)-differential privacy of a patient, by Rényi differential privacy (RDP).

Two sets of images are neighbours if one has a patient, with all images, more than the other. A release is a sum of
gradients, one of each patient that a Poisson draw has taken, each at most as long as `clip_norm`, with normal noise of
spread `noise_multiplier · clip_norm` on every weight: a Poisson-subsampled Gaussian mechanism. Its RDP and the way from
there to epsilon are Opacus' (`compute_rdp`, `get_privacy_spent`); releases add up, whatever was seen of earlier ones.

References:
    Mironov, Talwar, Zhang, "Rényi Differential Privacy of the Sampled Gaussian Mechanism", 2019, arXiv 1908.10530.
    Balle et al., "Hypothesis Testing Interpretations and Rényi Differential Privacy", AISTATS 2020, arXiv 1905.09982.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ra_core.errors import ConfigError
from ra_core.privacy.settings import MOST_NOISE

__all__ = ["METHOD", "Releases", "epsilon_of", "noise_for"]

METHOD = "Rényi differential privacy (Opacus)"

ORDERS = (*(1 + x / 10 for x in range(1, 100)), *range(12, 64), 80, 96, 128, 192, 256, 512, 1024)
"""Orders of the Rényi divergence, of which the best is taken: Opacus' own, and larger ones for much noise."""

LEAST_NOISE = 0.05
"""Noise multiplier from which one is looked for: with less all is told."""


class Releases(NamedTuple):
    """Equal releases.

    Attributes:
        sampling_rate: chance of each patient to be in one.
        noise_multiplier: spread of the noise over the clipping norm.
        times: how many.
    """

    sampling_rate: float
    noise_multiplier: float
    times: int


def epsilon_of(found: Iterable[Releases], delta: float) -> float:
    """Epsilon of all releases together, at least 0; 0 of none.

    Args:
        found: in any order.
        delta: in (0, 1).
    """
    counts: Counter[tuple[float, float]] = Counter()
    for releases in found:
        counts[releases.sampling_rate, releases.noise_multiplier] += releases.times
    return _epsilon(frozenset(Releases(*kind, count) for kind, count in counts.items() if count), delta)


@lru_cache(maxsize=1024)
def _epsilon(found: frozenset[Releases], delta: float) -> float:
    from opacus.accountants.analysis import rdp  # noqa: PLC0415 - seconds, which only a private study costs

    if not found:
        return 0.0
    total = sum(
        rdp.compute_rdp(q=r.sampling_rate, noise_multiplier=r.noise_multiplier, steps=r.times, orders=ORDERS)
        for r in sorted(found)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the")  # still a bound, if not the least
        epsilon, _ = rdp.get_privacy_spent(orders=ORDERS, rdp=total, delta=delta)
    return max(float(epsilon), 0.0)  # Opacus' is negative where delta alone covers all


@lru_cache(maxsize=64)
def noise_for(epsilon: float, delta: float, sampling_rate: float, times: int) -> float:
    """The noise multiplier, to three digits upwards, with which so many releases spend no more than epsilon.

    Raises:
        ConfigError: no noise does.
    """

    def fits(noise: float) -> bool:
        return epsilon_of([Releases(sampling_rate, noise, times)], delta) <= epsilon

    low, high = LEAST_NOISE, 2 * LEAST_NOISE
    while not fits(high):  # upwards: at a rate near one half the series behind much noise takes many seconds
        if high == MOST_NOISE:
            raise ConfigError(
                f"dp.epsilon: no noise keeps {times} releases within {epsilon:g}",
                "ask for a larger epsilon or fewer steps",
            )
        low, high = high, min(2 * high, MOST_NOISE)
    while high > 1.0005 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    digits = 10.0 ** (2 - math.floor(math.log10(high)))
    return math.ceil(high * digits) / digits
