"""Numbers and lists as people write them."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["asked", "counted", "duration", "listed", "percent", "printable", "ranges", "rounded_up"]


def duration(seconds: float) -> str:
    """For people: 48 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def listed(items: Sequence[str]) -> str:
    """For example "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def counted(n: int, what: str) -> str:
    """For example "1 site" or "2,000 sites"."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def percent(share: float) -> str:
    """A share as people say it: 0.05 is "5 %"."""
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def asked(rate: float) -> str:
    """A rate that somebody asked for, unrounded: 0.125 is "12.5 %"."""
    return f"{100 * rate:g} %"


def rounded_up(bound: float, digits: int) -> str:
    """With so many digits, never less than it is: 0.0001 is "0.001" with three."""
    return f"{math.ceil(bound * 10**digits) / 10**digits:.{digits}f}"


def printable(text: str) -> str:
    """One line that does nothing to a terminal: whatever steers it, or turns the direction of writing, is a "?"."""
    return "".join(character if character.isprintable() else "?" for character in text)


def ranges(numbers: Sequence[int]) -> str:
    """[1, 2, 3, 7] -> "1–3, 7"."""
    runs: list[list[int]] = []
    for n in sorted(set(numbers)):
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
