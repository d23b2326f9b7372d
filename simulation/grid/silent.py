"""A reporter that says nothing: of cells, only the whole study is reported."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from ra_core.console import Counter

__all__ = ["Silent"]


def _nothing(_done: int, _detail: str) -> None:
    pass


class Silent:
    """Takes what `simulation.arms.Reporter` takes."""

    def say(self, text: str) -> None:
        """Nothing."""

    def task(
        self,
        title: str,  # noqa: ARG002
        total: int | None,  # noqa: ARG002
        done: int = 0,  # noqa: ARG002
    ) -> AbstractContextManager[Callable[[int, str], None]]:
        """No bar."""
        return nullcontext(_nothing)

    def counted(self, title: str) -> AbstractContextManager[Counter]:  # noqa: ARG002
        """No bar."""
        return nullcontext(lambda _done, _total, _detail="": None)
