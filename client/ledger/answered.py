"""What a site has answered so far, as its ledger has it: by this an order that asks for the same again is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from client.ledger.chain import Line

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
    """

    masked_models: set[str] = field(default_factory=set)
    seeds: dict[int, Hidden] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Take in the next line."""
        if line.kind in ("masked", "masked_closing"):
            self.masked_models.add(line.model_hash)
        if line.kind == "masked" and line.trained:
            self.seeds[line.trained.seed] = Hidden(line.run, line.study, line.trained.stop)
