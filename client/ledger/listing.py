"""A ledger's line in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.ledger.line import Line
from ra_core.words import counted, printable

__all__ = ["described", "told"]


def told(line: Line) -> str:
    """One line for people: number, time, message, run, round, size, norm, and what was kept back."""
    return printable(_told(line))


def _told(line: Line) -> str:
    if line.kind == "torn":
        return f"{line.number}  {line.time}  torn  {line.what['bytes']} bytes set aside as {line.what['file']}"
    if spending := line.spending:
        rate, noise, times = spending.releases
        run = f"{line.run}, round {line.round}"
        return f"{line.number}  {line.time}  spending  {run}  {times} releases at a rate of {rate:g}, noise {noise:g}"
    if lost := line.replaced:
        place = (
            f"in place of one of {counted(lost.length, 'line')}, lost" if lost.length else "nothing has left before it"
        )
        aside = f"; set aside: {', '.join(line.noted)}" if line.noted else ""
        return f"{line.number}  {line.time}  begin  the account begins with this ledger: {place}{aside}"
    what = line.what
    run = f"{line.run or 'unknown run'}, round {line.round}" if line.round else line.run or "unknown run"
    parts = [str(line.number), line.time, line.kind, run, f"{what['bytes']} bytes"]
    if line.privacy:
        parts.append(f"epsilon {line.privacy['epsilon']:.4g} of the run, {_total(line.privacy)}")
    if what["tensors"]:
        parts.append(f"{len(what['tensors'])} tensors, norm {what['norm']:.4g}")
    parts += described(what["facts"])
    if reason := what["facts"].get("reason"):
        parts.append(reason)
    if kind := what["facts"].get("kind"):
        parts.append(kind)
    if what["withheld"]:
        parts.append(f"kept back: {'; '.join(what['withheld'])}")
    return "  ".join(parts)


def described(facts: Mapping[str, Any]) -> list[str]:
    """Score histograms of a message, and counts above thresholds, each in words; none where there are none."""
    whom = {"scores": "healthy patients", "healthy": "healthy test patients", "anomalous": "anomalous test patients"}
    found = [
        f"score histogram of {told['patients']} {whom[name]} in {counted(told['cells'], 'cell')}, smallest count "
        f"{told['smallest']}"
        for name, told in facts.get("histograms", {}).items()
    ]
    counts = {way: facts.get(f"above_{way}", -1) for way in ("local", "pooled", "shrunken")}
    above = [f"{count} above its {way} threshold" for way, count in counts.items() if count >= 0]
    return found + ([f"of {facts['n']} other healthy patients {', '.join(above)}"] if above else [])


def _total(privacy: Mapping[str, Any]) -> str:
    if privacy["unbounded"]:
        return f"none of all runs ({privacy['unbounded']} updates without differential privacy)"
    return f"{privacy['epsilon_total']:.4g} of all runs, at delta {privacy['delta']:g}"
