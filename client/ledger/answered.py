"""What a site has answered so far, as its ledger has it: by this an order that asks for the same again is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from client.ledger.line import Line, Scored

__all__ = ["Answered", "Hidden"]


class Hidden(NamedTuple):
    """Updates that have left under masks: in which run of which study, and up to before which step."""

    run: str
    study: str
    stop: int


@dataclass
class Answered:
    """Grows line by line.

    Attributes:
        masked_models: hashes of the models for which figures have left under masks.
        seeds: updates that have left under masks, by the seed that their batches were drawn with.
        models: digest of the study and hash of the model, of all that were answered for.
        judged: closing exchanges, without those that judged a model once more.
        joined: runs that the site has joined, and digests of their studies.
        scored: by kind of message and run, the counts of scores that left first.
    """

    masked_models: set[str] = field(default_factory=set)
    seeds: dict[int, Hidden] = field(default_factory=dict)
    models: set[tuple[str, str]] = field(default_factory=set)
    judged: int = 0
    joined: set[tuple[str, str]] = field(default_factory=set)
    scored: dict[tuple[str, str], Scored] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Take in the next line."""
        if line.kind == "join":
            self.joined.add((line.run, line.study))
        if line.scored:
            self.scored.setdefault((line.kind, line.run), line.scored)
        if line.kind in ("masked", "masked_closing"):
            self.masked_models.add(line.model_hash)
        if line.kind == "masked" and line.trained:
            self.seeds[line.trained.seed] = Hidden(line.run, line.study, line.trained.stop)
        if line.model_hash:
            model = line.study, line.model_hash
            self.judged += line.kind in ("closing", "masked_closing") and model not in self.models
            self.models.add(model)
