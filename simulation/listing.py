"""`ra-simulate list`: what a study can be made of. Needs no torch."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from ra_core.glossary import METRICS, SCORINGS_TOLD, SHORTCUTS_TOLD, Term
from ra_core.models.configs import CONFIGS, MethodSettings
from simulation.grid.arms import ARMS

__all__ = ["as_json", "as_text", "everything"]

NARROW, WIDE = 60, 120
"""Lines of text are as wide as the terminal within these: longer ones are hard to follow."""

MARGIN = 4
"""Columns before what is said of a name."""

HEADS = {
    "methods": "Methods: `settings: {name: NAME, preset: PRESET}` in a study",
    "presets": "Presets: what `small` and `paper` stand for in a method's settings; keys beside them win",
    "arms": "Arms, the ways to train: `arms` in a study's blocks",
    "scorings": "Scorings, from maps to image scores: columns of the tables; each site chooses one without labels",
    "shortcuts": "Shortcuts, measured beside the methods: who does not beat them has shown nothing",
    "metrics": "Metrics, with intervals by patient",
}

PRESETS = {
    "small": ("what processors can train in minutes to hours; the default", "this project, docs/method.md"),
    "paper": (
        "the settings of the RA paper's models, or of a method's own authors where it has none",
        "each method's line below its name: docs/method.md says where from",
    ),
}

Entry = dict[str, Any]


def everything() -> dict[str, list[Entry]]:
    """By kind, entries with `name`, `line`, `source` and, of methods, what else there is to know."""
    return {
        "methods": [_method(name, kind) for name, kind in CONFIGS.items()],
        "presets": [{"name": name, "line": line, "source": source} for name, (line, source) in PRESETS.items()],
        "arms": [{"name": name, "line": arm.meaning, "source": arm.source} for name, arm in ARMS.items()],
        "scorings": _terms(SCORINGS_TOLD),
        "shortcuts": _terms(SHORTCUTS_TOLD),
        "metrics": _terms(METRICS),
    }


def as_json() -> str:
    """For scripts."""
    return json.dumps(everything(), indent=2, ensure_ascii=False)


def as_text(columns: int) -> str:
    """For people at a terminal of so many columns."""
    width = min(max(columns, NARROW), WIDE)
    return "\n".join(line for kind, entries in everything().items() for line in _section(kind, entries, width))


def _method(name: str, kind: type[MethodSettings]) -> Entry:
    line, _, _ = (inspect.getdoc(kind) or "").partition("\n")
    return {
        "name": name,
        "line": line.rstrip("."),
        "source": kind.source,
        "presets": [*kind.presets],
        "paper": {key: [*v] if isinstance(v, tuple) else v for key, v in kind.presets["paper"].items()},
        "presets_differ": len({repr(values) for values in kind.presets.values()}) > 1,
        "learns": "in one pass over the images" if kind.fitted else "by steps of gradient descent",
        "federates": not kind.local_only,
        "reason": kind.local_only,
        "shared_parts": [*kind.parts],
        "gives": "reconstruction" if kind.reconstructs else "distance",
    }


def _terms(terms: Mapping[str, Term]) -> list[Entry]:
    return [
        {"name": name, "title": term.title, "line": term.meaning, "source": term.source} for name, term in terms.items()
    ]


def _section(kind: str, entries: list[Entry], width: int) -> Iterator[str]:
    yield from textwrap.wrap(HEADS[kind], width)
    yield ""
    for entry in entries:
        yield entry["name"]
        for text in (entry["line"], *_facts(entry), f"source: {entry['source']}"):
            yield from textwrap.wrap(text, width, initial_indent=" " * MARGIN, subsequent_indent=" " * (MARGIN + 2))
    yield ""


def _facts(entry: Entry) -> Iterator[str]:
    if "presets" not in entry:
        return
    parts = " and ".join(entry["shared_parts"])
    shared = f"federates ({parts})" if entry["federates"] else f"not federated: {entry['reason']}"
    made = "reconstructs" if entry["gives"] == "reconstruction" else "measures a distance"
    presets = " and ".join(entry["presets"]) + ("" if entry["presets_differ"] else " are the same")
    yield f"{made}; learns {entry['learns']}; {shared}; presets: {presets}"
    if entry["presets_differ"]:
        yield f"preset paper: {', '.join(f'{key} {_told(value)}' for key, value in entry['paper'].items())}"


def _told(value: object) -> str:
    if isinstance(value, list):
        return "-".join(map(_told, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
