"""Settings of all methods; apart from the methods, so that who only reads settings needs no torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationInfo

from ra_core.models.configs.autoencoders import (
    BetaVAEConfig,
    DAEConfig,
    EncoderDecoderSettings,
    PerceptualAEConfig,
    SoftIntroVAEConfig,
    VAEConfig,
    VariationalSettings,
)
from ra_core.models.configs.base import MethodSettings
from ra_core.models.configs.classical import MahalanobisConfig, NearestNeighbourConfig, PCAConfig
from ra_core.models.configs.ddpm import DDPMConfig
from ra_core.models.configs.features import FlowConfig, PaDiMConfig, PatchCoreConfig
from ra_core.models.configs.mae import MAEConfig
from ra_core.models.configs.perceptual import PerceptualConfig
from ra_core.models.configs.ra import RAConfig

__all__ = [
    "CONFIGS",
    "BetaVAEConfig",
    "DAEConfig",
    "DDPMConfig",
    "EncoderDecoderSettings",
    "FlowConfig",
    "MAEConfig",
    "MahalanobisConfig",
    "MethodConfig",
    "MethodSettings",
    "NearestNeighbourConfig",
    "PCAConfig",
    "PaDiMConfig",
    "PatchCoreConfig",
    "PerceptualAEConfig",
    "PerceptualConfig",
    "RAConfig",
    "SoftIntroVAEConfig",
    "VAEConfig",
    "VariationalSettings",
]

CONFIGS: dict[str, type[MethodSettings]] = {
    kind.model_fields["name"].default: kind
    for kind in (
        RAConfig,
        SoftIntroVAEConfig,
        VAEConfig,
        BetaVAEConfig,
        DAEConfig,
        PerceptualAEConfig,
        MAEConfig,
        DDPMConfig,
        PaDiMConfig,
        PatchCoreConfig,
        FlowConfig,
        NearestNeighbourConfig,
        PCAConfig,
        MahalanobisConfig,
    )
}
"""Settings classes by the names of their methods."""


def _choose(data: Any, info: ValidationInfo) -> Any:
    """Settings of the method that `name` says; an RA where it says none."""
    if not isinstance(data, dict):
        return data
    name = data.get("name", "ra")
    if not isinstance(name, str) or name not in CONFIGS:
        raise ValueError(f"there is no method '{name!s:.40}', only {', '.join(CONFIGS)}")
    return CONFIGS[name].model_validate(data, context=info.context)


MethodConfig = Annotated[SerializeAsAny[MethodSettings], BeforeValidator(_choose)]
"""Type of a setting that holds the settings of any method."""
