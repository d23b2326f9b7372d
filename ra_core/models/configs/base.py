"""What the settings of every method have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import model_validator

from ra_core.models.configs.perceptual import PerceptualConfig
from ra_core.settings import Config

__all__ = ["MethodSettings"]


class MethodSettings(Config):
    """Settings of a method; `preset: paper` or `small` may stand first.

    Attributes:
        presets: by name, values of settings; `small` is what CPUs can train, `paper` what the method's authors or the
            RA paper's baselines had.
        source: where the method comes from.
        parts: names of the parts that a federation can share.
        fitted: whether it is computed in one pass over the training images; that pass is its only step.
        local_only: why no federation can train it; empty where one can.
        has_norms: whether there are norm layers in its shared parts, which may stay at a site.
        reconstructs: whether it makes a pseudo-healthy twin; else it measures how far from healthy each place is.
        libraries: packages that its numbers depend on beside those that every method's do.
    """

    shorthands: ClassVar[dict[str, str]] = {
        "preset": "small or paper; stands for all keys below, so delete those that it shall set"
    }
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"small": {}, "paper": {}}
    source: ClassVar[str]
    name: str
    parts: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    fitted: ClassVar[bool] = False
    local_only: ClassVar[str] = ""
    has_norms: ClassVar[bool] = False
    reconstructs: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def why_not_private(self) -> str:
        """Why it can't be trained with differential privacy; empty where it can."""
        return "nothing bounds what a single patient changes in it"

    def releases(self, start: int, stop: int) -> int:  # noqa: ARG002
        """How many sums of gradients the steps from `start` to before `stop` release, with differential privacy.

        Raises:
            ValueError: it can't be trained so.
        """
        raise ValueError(f"{self.name}: {self.why_not_private}")

    def rate(self, step: int) -> float:  # noqa: ARG002
        """Learning rate of a step, counted from 0; above 0 but where a schedule touches it.

        Raises:
            ValueError: it is computed in one pass, and has none.
        """
        raise ValueError(f"{self.name}: is computed in one pass, without a learning rate")

    @property
    def unselectable_steps(self) -> int:
        """First steps, a warm-up, from which no weights may be chosen."""
        return 0

    @property
    def side_multiple(self) -> int:
        """What the side of images has to be a multiple of."""
        return 1

    @property
    def perceptual(self) -> PerceptualConfig | None:
        """The pretrained network that it needs, in training at least; looked for on each machine."""
        return None

    def require_side(self, size: int) -> None:
        """Refuse images of a side that is no multiple of `side_multiple`.

        Raises:
            ValueError: the size is none.
        """
        if size % self.side_multiple:
            raise ValueError(f"size {size} is no multiple of {self.side_multiple}")

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, data: Any) -> Any:
        """Replace `preset` by what it stands for; keys beside it win."""
        if not isinstance(data, dict) or "preset" not in data:
            return data
        given = {key: value for key, value in data.items() if key != "preset"}
        if data["preset"] not in tuple(cls.presets):  # a list has no hash
            raise ValueError(f"preset must be one of {', '.join(cls.presets)}")
        return dict(cls.presets[data["preset"]]) | given
