"""Named random generators: a draw depends on the seed and on what it is for, never on how many draws came before.

So a run that resumes at step 700 draws what it would have drawn without the interruption, and nothing needs saving.
"""

import hashlib

import torch

__all__ = ["derive_seed", "generator"]


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed from `seed` and a path of names, by SHA-256.

    >>> derive_seed(0, "noise", 7) == derive_seed(0, "noise", 7)
    True
    >>> derive_seed(0, "noise", 7) == derive_seed(0, "noise", 8)
    False
    """
    key = "/".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator seeded by `derive_seed(seed, *names)`: draws are the same on every device."""
    return torch.Generator().manual_seed(derive_seed(seed, *names))
