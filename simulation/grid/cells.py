"""Which cells a study has, what each is trained with, and which there can't be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ra_core.config import StudyConfig
from ra_core.glossary import SHORTCUT
from ra_core.models.features import network_hash
from simulation.grid.arms import ARMS, UNTRAINED, Variant, lack, refusal, variants
from simulation.grid.config import GridConfig

__all__ = ["Cell", "Refused", "all_cells", "refused"]

LATER = (
    ("dp",),
    ("calibration",),
    ("secure_aggregation", "federation"),
    ("late_from", "method"),
    ("late_learning_rate", "method"),
)
"""Settings that came after the first cells, and in what they stand: not set, a cell is the same as then."""


@dataclass(frozen=True)
class Cell:
    """One model, or one set of models with private parts; or the shortcuts, which need none.

    Attributes:
        method: its name in the study.
        arm: how it is trained; `UNTRAINED` of the shortcuts.
        variant: which of the arm's models.
        seed: of training.
        study: what it is trained with.
    """

    method: str
    arm: str
    variant: Variant
    seed: int
    study: StudyConfig

    @property
    def is_trained(self) -> bool:
        """Whether there is a model; the shortcuts are measured without one."""
        return self.arm != UNTRAINED

    @property
    def key(self) -> str:
        """Of its file."""
        middle = f".{self.variant.name.replace(' ', '_')}" if self.variant.name else ""
        return f"{self.method.replace(' ', '_')}.{self.arm}{middle}.seed{self.seed}"

    @property
    def told(self) -> str:
        """For people."""
        if not self.is_trained:
            return "shortcuts"
        variant = f" ({self.variant.name})" if self.variant.name else ""
        return f"{self.method}, {self.arm}{variant}, seed {self.seed}"

    def digest(self, data: str) -> str:
        """Of all that its numbers depend on, but machine and software: settings, sites, network, data's digest.

        Raises:
            WeightsError: the method needs a pretrained network that is nowhere on this machine.
        """
        settings = self.study.model_dump(mode="json")
        for feature, *parts in LATER:
            holder = settings
            for part in parts:
                holder = holder[part]
            if holder.get(feature) is None:
                holder.pop(feature, None)
        del settings["federation"]["compress"]  # the same bits arrive
        settings["perceptual"]["weights"] = None  # where a machine has them: what they are is in the data's digest
        facts = [settings, self.arm, list(self.variant.sites), data]
        facts += [network] if (network := network_hash(self.study.method)) else []
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Refused:
    """A method that can't be trained in a way that the study asks for, or a way that has too few sites."""

    method: str
    arm: str
    reason: str


def all_cells(config: GridConfig, trained: Sequence[str], alone: Sequence[str] = ()) -> list[Cell]:
    """All cells in the order of the blocks, each once; before them that of the shortcuts.

    Args:
        config: the study.
        trained: sites that may be trained on, in the study's order.
        alone: held-out sites that may have a model of their own.
    """
    shortcuts = Cell(SHORTCUT, UNTRAINED, Variant(""), 0, config.study_of_shortcuts())
    found = {shortcuts.key: shortcuts}
    for method, arm, seed in _combinations(config):
        if not refusal(arm, config.methods[method].settings):
            study = config.study_of(method, arm, seed)
            for variant in variants(arm, trained, alone):
                cell = Cell(method, arm, variant, seed, study)
                found.setdefault(cell.key, cell)
    return list(found.values())


def refused(config: GridConfig, trained: Sequence[str]) -> list[Refused]:
    """What is asked for and can't be, each once; arguments as of `all_cells`."""
    found = {}
    for method, arm, _ in _combinations(config):
        reason = refusal(arm, config.methods[method].settings) or lack(arm, len(trained))
        if reason:
            found[method, arm] = Refused(method, arm, reason)
    return list(found.values())


def _combinations(config: GridConfig) -> Iterator[tuple[str, str, int]]:
    for block in config.blocks:
        for method in config.methods if "all" in block.methods else block.methods:
            for arm in ARMS if "all" in block.arms else block.arms:
                for seed in block.seeds:
                    yield method, arm, seed
