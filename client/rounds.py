"""One hospital's part of a round: evaluate the received model, train it, report the update."""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ra_core.config import SiteConfig, StudyConfig
from ra_core.data import SiteImages
from ra_core.fixed_point import Codes, encode
from ra_core.hashing import tensor_digest
from ra_core.messages import MessageError, RoundOrder, RoundReply
from ra_core.models.method import GradientMethod
from ra_core.models.registry import build_method
from ra_core.models.shared import load_shared, shared_tensors
from ra_core.rng import derive_seed
from ra_core.runtime import Runtime
from ra_core.storage import load_tensors, save_tensors, write_atomically
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
    """

    config: SiteConfig
    images: SiteImages
    runtime: Runtime
    state: Path

    def answer(self, order: RoundOrder) -> RoundReply:
        """Evaluate the received model on this site's validation images, train it and report the update.

        Raises:
            MessageError: the model's tensors are not the study's.
            NonFiniteError: training diverged.
            RangeError: the update is too large to be sent.
            OSError: private layers can't be stored.
        """
        method = self._received(order)
        shared = shared_tensors(method, order.study.federation)
        before = {name: tensor.clone() for name, tensor in shared.items()}
        metrics = {"validation_error": self._validation_error(method, order.study)}
        update: dict[str, Codes] = {}
        if order.steps:
            metrics |= self._train(method, order)
            after = shared_tensors(method, order.study.federation)
            update = {name: _update(after[name], before[name]) for name in before}
            self._keep_private(method, order)
        return RoundReply(
            site=self.config.data.site,
            round=order.round,
            study_digest=order.study.digest(),
            model_hash=tensor_digest(before),
            fingerprint=self._fingerprint(),
            n_images=len(self.images.train),
            n_patients=len({row.patient_id for row in self.images.train.rows}),
            n_val=len(self.images.val),
            n_declared=self.images.declared,
            n_used=self.images.used,
            metrics=metrics,
            update=update,
        )

    def _received(self, order: RoundOrder) -> GradientMethod:
        """The study's method with the global model and this site's private layers of its last round before."""
        study = order.study
        method = build_method(study.method, study.preprocessing.size, study.seed)
        before = [number for number in self._private_rounds(study) if number < order.round]
        if before:
            method.load_state_dict(load_tensors(self._private_file(study, before[-1]))[0], strict=False)
        try:
            load_shared(method, study.federation, {k: torch.from_numpy(v) for k, v in order.model.items()})
        except ValueError as error:
            raise MessageError(str(error)) from None
        return method.to(self.runtime.device)

    def _train(self, method: GradientMethod, order: RoundOrder) -> dict[str, float]:
        """Local steps with fresh optimizers; mean loss terms over them."""
        study = order.study
        end = order.start_step + order.steps
        quiet = study.training.model_copy(update={"steps": end + 1, "validate_every": end + 1})
        seed = derive_seed(study.seed, "site", self.config.data.site)
        trainer = LocalTrainer(
            method, self.images.train, self.images.val, quiet, self.runtime, seed, order.start_step, order.proximal_mu
        )
        sums: dict[str, float] = {}

        def add(_: LocalTrainer, terms: dict[str, float]) -> None:
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value

        trainer.run(end, add)
        return {name: total / order.steps for name, total in sums.items()}

    def _validation_error(self, method: GradientMethod, study: StudyConfig) -> float:
        return validation_error(method, self.images.val, study.training.batch_size, self.runtime.device)

    def _keep_private(self, method: GradientMethod, order: RoundOrder) -> None:
        """Store what isn't shared. Kept are the last two rounds, so that a round can be repeated, and the best one."""
        shared = shared_tensors(method, order.study.federation)
        private = {name: tensor for name, tensor in method.state_dict().items() if name not in shared}
        if not private:
            return
        save_tensors(self._private_file(order.study, order.round), private, {})
        found = self._private_rounds(order.study)
        last_two = [number for number in found if number <= order.round][-2:]
        for number in set(found) - {*last_two, order.best_round}:
            self._private_file(order.study, number).unlink()

    def _private_rounds(self, study: StudyConfig) -> list[int]:
        """Rounds of which private layers are stored here, ascending."""
        files = self._private_file(study, 0).parent.glob("round_*.safetensors")
        return sorted(int(file.stem.removeprefix("round_")) for file in files)

    def _private_file(self, study: StudyConfig, number: int) -> Path:
        return self.state / study.digest()[:16] / f"round_{number}.safetensors"

    def _fingerprint(self) -> str:
        """Of the data, keyed with a secret of this site: the same data give the same text here and nowhere else."""
        file = self.state / "secret"
        if not file.exists():
            write_atomically(file, os.urandom(32), mode=0o600)
        return hmac.new(file.read_bytes(), self.images.train.fingerprint().encode(), hashlib.sha256).hexdigest()


def _update(after: Tensor, before: Tensor) -> Codes:
    difference = after.detach().cpu().double() - before.cpu().double()
    return encode(np.asarray(difference))
