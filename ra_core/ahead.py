"""Work ahead: the next item is made in a thread while the last one is used.

An item then takes the longer of making and using it in place of their sum; nothing where one core does both.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Generator[T]:
    """The same items in the same order, each but the first made while the one before is used.

    At most one waits. What making an item raises is raised where that item would have come. Close the iterator where
    it is left before its end, as `contextlib.closing` does: the thread ends then.
    """
    source = iter(items)

    def made() -> tuple[T] | None:
        for item in source:
            return (item,)
        return None

    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = pool.submit(made)
        while (found := coming.result()) is not None:
            coming = pool.submit(made)
            yield found[0]
