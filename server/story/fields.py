"""Fields of a JSON object that may hold anything: what isn't of the type asked for is as good as absent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ra_core.words import printable

__all__ = ["Fields", "shown"]

LONGEST = 240
"""Characters of a text that are shown."""

LARGEST = 10**15
"""Whole numbers beyond are no counts."""

MOST = 1000
"""Names that one list may hold."""


class Fields:
    """One event or record, whoever wrote it.

    Args:
        found: as JSON gave it.
    """

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = found

    def text(self, name: str) -> str:
        """A text that can be printed, on one line, cut where it is too long; "" where there is none."""
        return shown(self._found.get(name))

    def count(self, name: str) -> int | None:
        """A whole number from 0."""
        value = self._found.get(name)
        return value if type(value) is int and 0 <= value <= LARGEST else None

    def whole(self, name: str) -> int | None:
        """A whole number, which may be below 0: an exit code."""
        value = self._found.get(name)
        return value if type(value) is int and abs(value) <= LARGEST else None

    def number(self, name: str) -> float | None:
        """A finite number."""
        value = self._found.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if abs(value) <= LARGEST else None  # which NaN isn't

    def flag(self, name: str) -> bool:
        """Whether it is true."""
        return self._found.get(name) is True

    def names(self, name: str) -> tuple[str, ...]:
        """The texts of a list, each once."""
        value = self._found.get(name)
        texts = [shown(item) for item in value[:MOST]] if isinstance(value, list) else []
        return tuple(dict.fromkeys(text for text in texts if text))

    def texts(self, name: str) -> dict[str, str]:
        """A mapping of texts."""
        value = self._found.get(name)
        pairs = list(value.items())[:MOST] if isinstance(value, Mapping) else []
        return {shown(key): shown(item) for key, item in pairs if shown(key)}

    def part(self, name: str) -> Fields:
        """An object within; an empty one where there is none."""
        value = self._found.get(name)
        return Fields(value if isinstance(value, Mapping) else {})

    def moment(self, name: str) -> datetime | None:
        """A time in ISO 8601 with its offset, as UTC."""
        value = self._found.get(name)
        try:
            found = datetime.fromisoformat(value) if isinstance(value, str) else None
            return found.astimezone(UTC) if found and found.tzinfo else None
        except (ValueError, OverflowError):
            return None


def shown(value: object) -> str:
    """A text on one line, printable and cut where it is too long; "" for whatever else."""
    if not isinstance(value, str):
        return ""
    text = printable(" ".join(value[: 4 * LONGEST].split()))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
