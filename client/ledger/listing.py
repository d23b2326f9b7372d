"""A ledger's line in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.ledger.chain import Line
from ra_core.words import counted

__all__ = ["told"]


def told(line: Line) -> str:
    """One line for people: number, time, message, run, round, size, norm, and what was kept back."""
    if line.kind == "torn":
        return f"{line.number}  {line.time}  torn  {line.what['bytes']} bytes set aside as {line.what['file']}"
    if spending := line.spending:
        rate, noise, times = spending.releases
        run = f"{line.run}, round {line.round}"
        return f"{line.number}  {line.time}  spending  {run}  {times} releases at a rate of {rate:g}, noise {noise:g}"
    if lost := line.replaced:
        place = (
            f"in place of one of {counted(lost.length, 'line')}, lost" if lost.length else "nothing was spent before it"
        )
        return f"{line.number}  {line.time}  begin  the account of privacy begins with this ledger: {place}"
    what = line.what
    run = f"{line.run or 'unknown run'}, round {line.round}" if line.round else line.run or "unknown run"
    parts = [str(line.number), line.time, line.kind, run, f"{what['bytes']} bytes"]
    if line.privacy:
        parts.append(f"epsilon {line.privacy['epsilon']:.4g} of the run, {_total(line.privacy)}")
    if what["tensors"]:
        parts.append(f"{len(what['tensors'])} tensors, norm {what['norm']:.4g}")
    if reason := what["facts"].get("reason"):
        parts.append(reason)
    if kind := what["facts"].get("kind"):
        parts.append(kind)
    if what["withheld"]:
        parts.append(f"kept back: {'; '.join(what['withheld'])}")
    return "  ".join(parts)


def _total(privacy: Mapping[str, Any]) -> str:
    if privacy["unbounded"]:
        return f"none of all runs ({privacy['unbounded']} updates without differential privacy)"
    return f"{privacy['epsilon_total']:.4g} of all runs, at delta {privacy['delta']:g}"
