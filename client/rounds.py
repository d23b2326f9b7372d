"""One hospital's part of a federation: say what it has, evaluate the received model, train it, report the update."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from client.kept import Kept, own_layers, restore_layers
from client.ledger.book import Ledger
from client.ledger.line import Spending
from client.spending import spend
from ra_core.config import PerceptualConfig, SiteConfig, StudyConfig
from ra_core.data import ImageSet, SiteImages
from ra_core.files import write_atomically
from ra_core.fixed_point import Codes, encode
from ra_core.hashing import tensor_digest
from ra_core.installed import package_hash
from ra_core.messages import JoinOrder, JoinReply, MessageError, RoundOrder, RoundReply
from ra_core.models.features import network_hash, pretrained
from ra_core.models.method import FittedMethod, GradientMethod, Method
from ra_core.models.registry import build_method
from ra_core.models.shared import load_shared, shared_tensors
from ra_core.privacy.randomness import Randomness
from ra_core.privacy.steps import PrivateSteps
from ra_core.rng import derive_seed
from ra_core.runtime import Runtime
from ra_core.site_scorer import batches
from ra_core.training import LocalTrainer, validation_error

__all__ = ["Site"]


@dataclass
class Site:
    """One hospital's side of a federation.

    Attributes:
        config: of the site.
        images: its images, preprocessed as the study says.
        runtime: its machine.
        state: folder for what stays here between rounds.
        randomness: of training with differential privacy; with any but the system's no update leaves.
    """

    config: SiteConfig
    images: SiteImages
    runtime: Runtime
    state: Path
    randomness: Randomness = field(default_factory=Randomness)

    def join(self, order: JoinOrder) -> JoinReply:
        """What this site has for the study, in counts.

        Raises:
            WeightsError: method or scoring look at images through a pretrained network that this machine doesn't have.
            ConfigError: the method has no such scoring as is to be calibrated.
        """
        network_hash(order.study.method)  # better told now than in the middle of a round
        _require_scoring(order.study)
        train, val = self.images.train, self.images.val
        return JoinReply(
            site=self.config.data.site,
            study_digest=order.study.digest(),
            package_hash=package_hash(),
            anatomy=self.config.anatomy,
            modality=self.config.modality,
            n_images=len(train),
            n_patients=_patients(train),
            n_val=len(val),
            n_val_patients=_patients(val),
            n_declared=self.images.declared,
            n_used=self.images.used,
        )

    def answer(self, order: RoundOrder) -> RoundReply:
        """Evaluate the received model on validation images, where that may be told; train it and report the update.

        Raises:
            MessageError: the model's tensors are not the study's.
            PrivacyBudgetError: the round would spend more privacy than is left.
            ConfigError: the study's method can't be trained with the differential privacy that it asks for.
            LedgerError: the privacy spent can't be noted.
            StateError: what this site kept of the round that it has to start from is lost.
            NonFiniteError: training diverged.
            RangeError: the update is too large to be sent.
            OSError: what is kept can't be stored.
        """
        method = build_method(order.study.method, order.study.preprocessing.size, order.study.seed)
        kept = self._restore(method, order)
        shared = shared_tensors(method, order.study.federation)
        before = {name: tensor.clone() for name, tensor in shared.items()}
        metrics = {"validation_error": self._validation_error(method, order.study)} if self._tells(order.study) else {}
        update: dict[str, Codes] = {}
        spending = self._spend(order)
        if order.steps:
            metrics |= self._train(method, order, kept, spending)
            after = shared_tensors(method, order.study.federation)
            update = {name: _update(after[name], before[name]) for name in before}
        return RoundReply(
            site=self.config.data.site,
            round=order.round,
            study_digest=order.study.digest(),
            model_hash=tensor_digest(before),
            fingerprint=self._fingerprint(),
            n_images=len(self.images.train),
            n_patients=_patients(self.images.train),
            n_val=len(self.images.val),
            n_declared=self.images.declared,
            n_used=self.images.used,
            metrics=metrics,
            update=update,
            spending=spending.number if spending else 0,
        )

    def _restore(self, method: Method, order: RoundOrder) -> dict[str, Tensor]:
        """Fill the method with the global model and this site's own layers; the value is all that was kept."""
        federation = order.study.federation
        kept: dict[str, Tensor] = {}
        if order.base_round and (own_layers(method, order.study) or federation.keep_optimizer):
            kept = Kept.of(self.state, order.study, order.run).load(order.base_round)
            restore_layers(method, order.study, kept)
        try:
            load_shared(method, federation, {k: torch.from_numpy(v) for k, v in order.model.items()})
        except ValueError as error:
            raise MessageError(str(error)) from None
        method.to(self.runtime.device)
        return kept

    def _train(
        self,
        method: GradientMethod | FittedMethod,
        order: RoundOrder,
        kept: Mapping[str, Tensor],
        spending: Spending | None,
    ) -> dict[str, float]:
        """Local steps; each loss term's mean over those that have it. What stays here is kept for the next round."""
        study = order.study
        if isinstance(method, FittedMethod):
            method.fit(batches(self.images.train, study.evaluation.batch_size))
            return {}
        end = order.start_step + order.steps
        quiet = study.training.model_copy(update={"steps": end + 1, "validate_every": end + 1})
        seed = derive_seed(study.seed, "site", self.config.data.site)
        trainer = LocalTrainer(
            method,
            self.images.train,
            self.images.val,
            quiet,
            self.runtime,
            seed,
            order.start_step,
            order.proximal_mu,
            private=self._private(order.study, spending),
        )
        if study.federation.keep_optimizer:
            trainer.restore_optimizers(kept)
        found: dict[str, list[float]] = {}  # a phase of training may lack a term, and so may a private step of nobody

        def add(_: LocalTrainer, terms: dict[str, float]) -> None:
            for name, value in terms.items():
                found.setdefault(name, []).append(value)

        trainer.run(end, add)
        own = own_layers(method, study)
        if study.federation.keep_optimizer:
            own |= trainer.optimizer_tensors()
        if own:
            Kept.of(self.state, study, order.run).save(order.round, own, order.base_round, order.best_round)
        return {name: sum(values) / len(values) for name, values in found.items()}

    def _spend(self, order: RoundOrder) -> Spending | None:
        """Pay for a round with differential privacy before anything of it is computed; None where there is none."""
        if order.study.dp is None or not order.steps:
            return None
        with Ledger(self.state / "ledger").opened() as book:
            return spend(book, self.config.policy, order, self.randomness.source)

    def _private(self, study: StudyConfig, spending: Spending | None) -> PrivateSteps | None:
        """How a round is trained with the differential privacy that it was paid for."""
        if study.dp is None or spending is None:
            return None
        patients: dict[str, list[int]] = {}
        for index, row in enumerate(self.images.train.rows):
            patients.setdefault(row.patient_id, []).append(index)
        noise, size = spending.releases.noise_multiplier, study.training.batch_size
        return PrivateSteps(list(patients.values()), study.dp, noise, size, self.randomness)

    def _tells(self, study: StudyConfig) -> bool:
        """Whether metrics may leave at all: what would stay in any case is not computed."""
        return study.dp is None or "metrics" in self.config.policy.dp_tells

    def _validation_error(self, method: Method, study: StudyConfig) -> float:
        return validation_error(method, self.images.val, study.training.batch_size, self.runtime.device)

    def _fingerprint(self) -> str:
        """Of the data, keyed with a secret of this site: the same data give the same text here and nowhere else."""
        file = self.state / "secret"
        if not file.exists():
            write_atomically(file, os.urandom(32), mode=0o600)
        return hmac.new(file.read_bytes(), self.images.train.fingerprint().encode(), hashlib.sha256).hexdigest()


def _require_scoring(study: StudyConfig) -> None:
    """That the site can score as is to be calibrated."""
    if study.calibration is None:
        return
    method = build_method(study.method, study.preprocessing.size, study.seed)
    if study.calibration.scoring_of(method.scorings).is_perceptual:
        pretrained(PerceptualConfig(net=study.perceptual.net), "cpu")


def _patients(images: ImageSet) -> int:
    return len({row.patient_id for row in images.rows})


def _update(after: Tensor, before: Tensor) -> Codes:
    difference = after.detach().cpu().double() - before.cpu().double()
    return encode(np.asarray(difference))
