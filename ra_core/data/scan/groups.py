"""What belongs together, directly or by way of others."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Groups"]

T = TypeVar("T")


class Groups(Generic[T]):
    """Disjoint sets that grow together (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[T, T] = {}

    def root(self, item: T) -> T:
        """The same for all of a group; an item that was never joined is a group of its own."""
        while item in self._parent:
            item = self._parent[item]
        return item

    def join(self, one: T, other: T) -> None:
        """Make the groups of both one."""
        a, b = self.root(one), self.root(other)
        if a != b:
            self._parent[b] = a
