"""Masks: a ChaCha20 keystream read as little-endian 64-bit words, added modulo 2^64, or 2^128 where a field is wide."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from ra_core.masking.keys import agree, derive
from ra_core.masking.layout import Layout, Sign, Words
from ra_core.masking.roll import Roll

__all__ = ["add_mask", "add_stream", "pair_key", "pair_sign", "self_key"]

_CHUNK = 1 << 16
"""Words made at a time: half a MiB, whatever the model's size."""

_ZEROS = bytes(8 * _CHUNK)


def add_mask(layout: Layout, words: Words, key: bytes, sign: Sign) -> None:
    """Add or take away a key's mask in place, from a vector of this layout."""
    with layout.carrying(words, sign):
        add_stream(words, key, sign)


def add_stream(words: Words, key: bytes, sign: Sign) -> None:
    """Add or subtract a key's keystream in place, modulo 2^64.

    The keystream is ChaCha20's (RFC 8439) with counter and nonce zero: every key is derived for one mask alone. It
    doesn't repeat within 2^32 blocks, which are 256 GiB.

    Args:
        words: changed; any length.
        key: 32 bytes.
        sign: 1 adds, -1 takes away.
    """
    encryptor = Cipher(algorithms.ChaCha20(key, nonce=bytes(16)), mode=None).encryptor()
    change = np.add if sign == 1 else np.subtract
    for start in range(0, words.size, _CHUNK):
        part = words[start : start + _CHUNK]
        change(part, np.frombuffer(encryptor.update(_ZEROS[: part.nbytes]), "<u8"), out=part)


def self_key(roll: Roll, dealt: Iterable[str], site: str, seed: bytes) -> bytes:
    """Key of the mask that a site adds for itself alone; `dealt` as in `pair_key`."""
    return derive(seed, _context(roll, dealt, "self mask", site))


def pair_key(roll: Roll, dealt: Iterable[str], site: str, other: str, private: bytes, public: bytes) -> bytes:
    """Key of the mask that two sites share; the same from both sides.

    It is of these announcements and dealers alone: a site whose state was set back, and that is shown others, has
    other masks.

    Args:
        roll: of the round.
        dealt: sites whose masks are to cancel, ascending.
        site: one of the two.
        other: the other one.
        private: masking key of either.
        public: masking key of the one whose private key isn't given.
    """
    return agree(private, public, _context(roll, dealt, "pair mask", *sorted((site, other))))


def _context(roll: Roll, dealt: Iterable[str], purpose: str, *names: str) -> bytes:
    return roll.terms.context(purpose, roll.digest, *dealt, *names)


def pair_sign(site: str, other: str) -> Sign:
    """What `site` does with the mask that it shares with `other`: the first of the two by name adds."""
    return 1 if site < other else -1
