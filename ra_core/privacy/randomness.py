"""Random numbers that nobody can foresee: each bit is the operating system's, none follows from a study's seed."""

from __future__ import annotations

import math
import os

import numpy as np
from numpy.typing import NDArray

__all__ = ["SYSTEM", "Randomness"]

SYSTEM = "operating system"

_STEP = 2.0**-53
"""Distance of two neighbouring uniform numbers: float64 holds all multiples of it in [0, 1)."""

_CHUNK = 2**14
"""Normal numbers made at a time: what they are made of stays in the processor's cache.

2.4 million take 0.56 s of an AMD EPYC core, and 0.70 s all at once (medians of 3, beside other work).
"""


class Randomness:
    """Draws from `os.urandom`. A test may put other bits in by a subclass; nothing made of them leaves a site."""

    @property
    def source(self) -> str:
        """Where the bits come from: `SYSTEM`, or a test, whatever a subclass changes."""
        return SYSTEM if type(self) is Randomness else "test"

    def bits(self, count: int) -> bytes:
        """So many bytes."""
        return os.urandom(count)

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Multiples of 2^-53 in [0, 1), all as likely."""
        words = np.frombuffer(self.bits(8 * math.prod(shape)), np.uint64)
        return np.asarray((words >> np.uint64(11)) * _STEP, np.float64).reshape(shape)

    def normal(self, count: int) -> NDArray[np.float64]:
        """Standard normal, (count,).

        Each is half the sum of four draws by Box and Muller 1958, in float64: which float64 can come out of a single
        draw tells its bits apart from others (Mironov 2012, CCS), and with n > 1 pairs of draws that is out of reach
        (Holohan and Braghin 2021, ESORICS, arXiv 2107.10138, section 5.1).
        """
        found = np.zeros(count)
        for start in range(0, count, _CHUNK):
            some = found[start : start + _CHUNK]
            some += self._pair(len(some))
            some += self._pair(len(some))
        return np.multiply(found, math.sqrt(0.5), out=found)

    def _pair(self, count: int) -> NDArray[np.float64]:
        """Sum of the two draws that Box and Muller make of two uniform numbers, over the root of 2, (count,).

        r cos a + r sin a is the root of 2 times r cos(a - pi/4), and an angle is as likely as any other.
        """
        radius = np.sqrt(-2 * np.log(1 - self.uniform(count)))  # 1 - u is exact and never 0
        return np.asarray(radius * np.cos(2 * np.pi * self.uniform(count)))

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1; with 64 bits its bias is below count / 2^64."""
        return int.from_bytes(self.bits(8), "big") % count
