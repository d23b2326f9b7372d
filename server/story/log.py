"""A log that is followed, and the story that it tells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ra_core.daemons.events import read_events

__all__ = ["Log"]


class _Story(Protocol):
    def take(self, event: Mapping[str, Any]) -> None: ...


S = TypeVar("S", bound=_Story)


class Log(Generic[S]):
    """Events in a file, of which only new lines are read.

    Args:
        path: of the file; a missing one has no events.
        story: takes them.
    """

    def __init__(self, path: Path, story: S) -> None:
        self.story = story
        self._path, self._offset = path, 0

    def follow(self) -> S:
        """The story, with all that was told so far."""
        events, self._offset = read_events(self._path, self._offset)
        for event in events:
            self.story.take(event)
        return self.story
