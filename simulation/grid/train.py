"""Training a cell: from its plan to the model that each site uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from client.models import models
from ra_core.artifact import load_artifact
from ra_core.config import StudyConfig
from ra_core.data import JoinedImages, SiteImages
from ra_core.errors import StateError
from ra_core.models.method import FittedMethod, Method
from ra_core.models.registry import build_method
from ra_core.models.shared import load_shared, shared_tensors
from ra_core.rng import derive_seed
from ra_core.runtime import Runtime
from ra_core.training import LocalTrainer
from server.rounds.outcome import shortfalls
from simulation.arms import Arm, Reporter, Trained, hash_of, require_public, train_alone, train_federated
from simulation.engines import Node, run_in_process
from simulation.grid.arms import ARMS
from simulation.grid.cells import Cell
from simulation.grid.workbench import Workbench

__all__ = ["Models", "adapt", "train"]


@dataclass(frozen=True)
class Models:
    """What came out of a cell's training.

    Attributes:
        by_site: the model that each site uses; a site that none can be had for is missing.
        selected: which step or round.
        adapted: steps that private parts took at sites which took no part; 0 where there are no such parts.
        degraded: who was missing, and why.
    """

    by_site: Mapping[str, Method]
    selected: str
    adapted: int
    degraded: tuple[str, ...]

    @property
    def hashes(self) -> dict[str, str]:
        """Model hash by site; empty for a method that holds images."""
        hashes = {method: hash_of(method) for method in set(self.by_site.values())}  # many sites may use one model
        return {site: hashes[method] for site, method in self.by_site.items()}


def train(cell: Cell, bench: Workbench, folder: Path, reporter: Reporter) -> Models:
    """Train a cell, or go on training it.

    Args:
        cell: what is trained.
        bench: sites and machine.
        folder: for checkpoints.
        reporter: told what goes on.

    Raises:
        RAError: of any kind: what ended training early.
        KeyboardInterrupt: stopped; the same call goes on from a checkpoint.
    """
    members = [place for place in bench.places if place.name in cell.variant.sites]
    kind = ARMS[cell.arm]
    if kind.federation is None:
        train_set, val_set = JoinedImages.train_and_val([place.images for place in members])
        arm = Arm("pooled" if kind.members == "all" else "local", cell.variant.sites)
        return _one(train_alone(arm, train_set, val_set, cell.study, bench.machine, folder, reporter), bench)
    nodes = [Node(p.name, p.file, p.root, folder / "sites" / p.name, bench.cache) for p in members]
    arm = Arm("federated", cell.variant.sites)
    training = cell.study.training.model_copy(update={"precision": bench.machine.precision})  # the same at every site
    study = cell.study.model_copy(update={"training": training})
    trained = train_federated(arm, nodes, study, bench.runtime, folder, run_in_process, reporter)
    if not kind.private:
        return _one(trained, bench)
    found: dict[str, Method] = {node.site: _delivered(node) for node in nodes}
    shared = {name: t.clone() for name, t in shared_tensors(trained.method, cell.study.federation).items()}
    for place in bench.places if bench.adapt_steps else ():
        if place.name not in found and not place.borrows:
            found[place.name] = adapt(cell.study, shared, place.images, bench.machine, bench.adapt_steps)
    return Models(found, trained.selection, bench.adapt_steps, tuple(shortfalls(trained.records)))


def _one(trained: Trained, bench: Workbench) -> Models:
    by_site = {place.name: trained.method for place in bench.places}
    return Models(by_site, trained.selection, 0, tuple(shortfalls(trained.records)))


def _delivered(node: Node) -> Method:
    """The model that the federation has delivered to a site, its own parts in it."""
    stored = [found for found in models(node.state) if found.card]
    if len(stored) != 1:
        raise StateError(f"site '{node.site}' has {len(stored)} delivered models, not one", "delete the cell's folder")
    return load_artifact(stored[0].folder).method


def adapt(study: StudyConfig, shared: Mapping[str, Tensor], images: SiteImages, machine: Runtime, steps: int) -> Method:
    """A model for a site that took no part: shared tensors as they are, the rest trained on its healthy images.

    The rest starts from the study's initial weights, and the method's schedule from its first step: of an RA that has a
    longer warm-up than `steps`, the private parts are trained as those of a plain variational autoencoder.

    Raises:
        NonFiniteError: training diverged.
        ConfigError: the study has differential privacy.
    """
    require_public(study)
    method = build_method(study.method, study.preprocessing.size, study.seed)
    if isinstance(method, FittedMethod):
        raise TypeError(f"{study.method.name} has no private parts")
    load_shared(method, study.federation, shared)
    parts = method.shared_parts()
    frozen = frozenset(
        parameter
        for part, module in parts.items()
        for name, parameter in module.named_parameters()
        if f"{part}.{name}" in shared
    )
    quiet = study.training.model_copy(update={"steps": steps + 1, "validate_every": steps + 1})
    seed = derive_seed(study.seed, "site", images.site)
    trainer = LocalTrainer(method, images.train, images.val, quiet, machine, seed, frozen=frozen)
    trainer.run(steps)
    after = shared_tensors(method, study.federation)
    changed = [name for name, tensor in after.items() if not torch.equal(tensor.cpu(), shared[name].cpu())]
    if changed:
        raise StateError(f"'{changed[0]}' is shared and was changed", "a fault of the program: report it")
    return method.eval()
