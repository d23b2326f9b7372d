"""A reporter that tells of a cell what it is at: on the study's bar, and in a line of its own now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from simulation.grid.silent import Silent

__all__ = ["BEAT", "Beat"]

BEAT = 300.0
"""Seconds between two lines."""


class Beat(Silent):
    """Takes what `simulation.arms.Reporter` takes.

    Args:
        cell: for people.
        show: moves the study's bar, given a text.
        say: told a line.
    """

    def __init__(self, cell: str, show: Callable[[str], None], say: Callable[[str], None]) -> None:
        self._cell, self._show, self._say, self._said = cell, show, say, time.monotonic()

    def task(self, title: str, total: int | None, done: int = 0) -> AbstractContextManager[Callable[[int, str], None]]:
        """No bar of its own."""

        def move(done: int, _detail: str = "") -> None:
            text = f"{self._cell}: {title}" + (f" {done} of {total}" if total else "")
            self._show(text)
            if time.monotonic() - self._said >= BEAT:
                self._said = time.monotonic()
                self._say(text)

        move(done)
        return nullcontext(move)
