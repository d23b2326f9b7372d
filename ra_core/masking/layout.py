"""A site's figures as one flat vector of 64-bit words, whose sum modulo 2^64 over all sites is the true sum.

The words are signed integers in two's complement. A field that is too wide for 64 bits is one number in two words, the
lower first, added modulo 2^128: the carry goes on from the one to the other, so that the sum shows no more than itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ra_core.errors import MaskingError

__all__ = ["Field", "Layout", "Sign", "Values", "Words"]

Sign = Literal[1, -1]
"""Whether something is added or taken away."""

Words = NDArray[np.uint64]

Values = Mapping[str, NDArray[np.int64]]
"""Fields by name; a wide one is an array without dimensions that holds one Python integer."""

_WORD = 2**64


@dataclass(frozen=True)
class Field:
    """Some integers of the vector.

    Attributes:
        name: unique in the layout.
        shape: of the integers; () is a single one.
        least, most: between them, both included, lies what one site may give.
        wide: a single integer in two words, below 2^127 summed over all sites, instead of 2^63.
    """

    name: str
    shape: tuple[int, ...]
    least: int
    most: int
    wide: bool = False

    @property
    def words(self) -> int:
        """Words that it takes."""
        return 2 if self.wide else math.prod(self.shape)

    def has_room_for(self, sites: int) -> bool:
        """Whether no sum over so many sites can wrap around."""
        single = not self.wide or self.shape == ()
        most = 2**127 if self.wide else 2**63
        return single and self.least <= self.most and sites * max(-self.least, self.most) < most


@dataclass(frozen=True)
class Layout:
    """What stands where in the vector: the fields one after the other, each in row-major order."""

    fields: tuple[Field, ...]

    @property
    def size(self) -> int:
        """Words of the vector."""
        return sum(field.words for field in self.fields)

    @cached_property
    def _lower(self) -> NDArray[np.intp]:
        """Places of the lower words of wide fields; the upper one of each comes after it."""
        starts = itertools.accumulate((field.words for field in self.fields), initial=0)
        return np.array([start for start, field in zip(starts, self.fields, strict=False) if field.wide], np.intp)

    @contextmanager
    def carrying(self, words: Words, sign: Sign) -> Iterator[None]:
        """Within, each word has another added modulo 2^64, once, or taken away; after it wide fields are put right.

        Args:
            words: the vector.
            sign: 1 where they are added, -1 where they are taken away.
        """
        before = words[self._lower]
        yield
        after = words[self._lower]
        if sign == 1:
            words[self._lower + 1] += after < before
        else:
            words[self._lower + 1] -= after > before

    def require_room(self, sites: int) -> None:
        """Prove that the sum over all sites is the true one, before anything is masked.

        Raises:
            MaskingError: a sum within the bounds could wrap around, or a name stands twice.
        """
        if len({field.name for field in self.fields}) < len(self.fields):
            raise MaskingError("the layout names a field twice")
        for field in self.fields:
            if not field.has_room_for(sites):
                raise MaskingError(f"the sum of '{field.name}' over {sites} sites may not fit its words")

    def pack(self, values: Values) -> Words:
        """One site's vector.

        Raises:
            MaskingError: names or shapes are others, or a value is beyond its bounds: it would take the room of others.
        """
        if values.keys() != {field.name for field in self.fields}:
            raise MaskingError("the figures are not those of the layout")
        for field in self.fields:
            self._check(field, values[field.name], 1)
        return np.concatenate([_words(field, values[field.name]) for field in self.fields])

    def unpack(self, total: Words, sites: int) -> dict[str, NDArray[np.int64]]:
        """The sum's fields.

        Args:
            total: unmasked sum of the vectors of these sites.
            sites: how many.

        Raises:
            MaskingError: a sum is beyond what so many sites may give, so that one of them broke its bounds or a mask is
                left in it. Who can't be told: the single vectors are known to nobody.
        """
        values, start = {}, 0
        for field in self.fields:
            value = _value(field, total[start : start + field.words])
            self._check(field, value, sites)
            values[field.name], start = value, start + field.words
        return values

    @staticmethod
    def _check(field: Field, value: NDArray[np.int64], sites: int) -> None:
        whose = "this site's" if sites == 1 else f"the sum over {sites} sites of"
        if value.shape != field.shape or value.dtype != (object if field.wide else np.int64):
            raise MaskingError(f"{whose} '{field.name}' has another shape or type than the layout says")
        if value.size and not (sites * field.least <= value.min() and value.max() <= sites * field.most):
            raise MaskingError(f"{whose} '{field.name}' is out of its range", "no mean was made of it")


def _words(field: Field, value: NDArray[np.int64]) -> Words:
    if not field.wide:
        return value.reshape(-1).view(np.uint64)
    upper, lower = divmod(int(value.item()) % _WORD**2, _WORD)
    return np.array([lower, upper], np.uint64)


def _value(field: Field, words: Words) -> NDArray[np.int64]:
    if not field.wide:
        return words.view(np.int64).reshape(field.shape)
    number = int(words[0]) + int(words[1]) * _WORD
    return np.array(number - _WORD**2 if number >= _WORD**2 // 2 else number, object)
