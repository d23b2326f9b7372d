"""What a site keeps to itself between rounds: layers that aren't shared, optimizers' state; one file a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ra_core.config import StudyConfig
from ra_core.errors import StateError
from ra_core.files import sweep
from ra_core.models.method import Method
from ra_core.models.shared import shared_tensors
from ra_core.storage import load_tensors, save_tensors

__all__ = ["Kept", "own_layers", "restore_layers"]

_LAYER = "layer/"


def own_layers(method: Method, study: StudyConfig) -> dict[str, Tensor]:
    """What the study doesn't share, counts of batches among it, each in its own type; named as in a kept file."""
    shared = shared_tensors(method, study.federation)
    return {_LAYER + name: tensor for name, tensor in method.state_dict().items() if name not in shared}


def restore_layers(method: Method, study: StudyConfig, kept: Mapping[str, Tensor]) -> None:
    """Copy what was kept of `own_layers` into the method; other tensors are passed by.

    Raises:
        StateError: they are of another model.
    """
    layers = {name: tensor for name, tensor in kept.items() if name.startswith(_LAYER)}
    own = own_layers(method, study)
    if {name: t.shape for name, t in layers.items()} != {name: t.shape for name, t in own.items()}:
        raise StateError("what this site kept is of another model", "was the state folder of another site copied here?")
    for name, tensor in own.items():
        tensor.copy_(layers[name])


@dataclass(frozen=True)
class Kept:
    """A study's files at one site.

    Attributes:
        folder: of the study.
        run: what another run of the same study has left is not used.
    """

    folder: Path
    run: str

    @classmethod
    def of(cls, state: Path, study: StudyConfig, run: str) -> Kept:
        """In a site's state folder."""
        return cls(state / study.digest()[:16], run)

    def load(self, number: int) -> dict[str, Tensor]:
        """What was kept of a round.

        Raises:
            StateError: nothing was, or it is damaged or of another run; nobody goes on with something else in silence.
        """
        try:
            tensors, facts = load_tensors(self._file(number))
        except (OSError, ValueError) as error:
            raise _lost(number, f"can't be read ({type(error).__name__})") from None
        if facts != self._facts:
            raise _lost(number, "is of another run")
        return tensors

    def save(self, number: int, tensors: Mapping[str, Tensor], base: int, best: int) -> None:
        """Keep a round's tensors.

        Beside them stay those of the round that it started from and of the one before that, since the server may fall
        back by one checkpoint; and those that belong to the best model so far.

        Args:
            number: of the round.
            tensors: by name.
            base: round that it started from.
            best: round that belongs to the best model; 0 is none, here and for `base`.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        sweep(self.folder)
        save_tensors(self._file(number), tensors, self._facts)
        earlier = [found for found in self.rounds() if found < base]
        for found in set(self.rounds()) - {number, base, best, *earlier[-1:]}:
            self._file(found).unlink()

    def rounds(self) -> list[int]:
        """Rounds of which something is kept, ascending."""
        files = self.folder.glob("round_*.safetensors")
        return sorted(int(file.stem.removeprefix("round_")) for file in files)

    @property
    def _facts(self) -> dict[str, str]:
        return {"run": self.run}

    def _file(self, number: int) -> Path:
        return self.folder / f"round_{number}.safetensors"


def _lost(number: int, why: str) -> StateError:
    return StateError(
        f"what this site kept of round {number} {why}",
        "restore the state folder from a copy; without it the site can't go on in this run, only in a new one",
    )
