"""Settings of methods that are computed rather than trained, from pixels."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ra_core.models.configs.base import MethodSettings

__all__ = ["MahalanobisConfig", "NearestNeighbourConfig", "PCAConfig"]


class PCAConfig(MethodSettings):
    """PCA residual: what the leading principal components of healthy images can't express."""

    source: ClassVar[str] = "Pearson 1901; as a baseline, Saase et al. 2020, arXiv 2011.12735"
    parts: ClassVar[tuple[str, ...]] = ("moments",)
    fitted: ClassVar[bool] = True

    name: Literal["pca"] = Field("pca", description="the method")
    components: int = Field(64, ge=1, le=1024, description="leading components kept, at most")


class MahalanobisConfig(MethodSettings):
    """Mahalanobis distance: how far an image is from the Gaussian of healthy ones; one number an image, no map."""

    source: ClassVar[str] = "Mahalanobis 1936; the covariance is that of Tipping and Bishop 1999"
    parts: ClassVar[tuple[str, ...]] = ("moments",)
    fitted: ClassVar[bool] = True
    reconstructs: ClassVar[bool] = False

    name: Literal["mahalanobis"] = Field("mahalanobis", description="the method")
    components: int = Field(
        64, ge=1, le=1024, description="leading components with a variance of their own, at most; all else has one"
    )


class NearestNeighbourConfig(MethodSettings):
    """Nearest neighbour: the healthy training image most like the input stands for its healthy twin."""

    source: ClassVar[str] = "Cover and Hart 1967"
    parts: ClassVar[tuple[str, ...]] = ()
    fitted: ClassVar[bool] = True
    local_only: ClassVar[str] = "its bank holds training images, which may not leave their site"

    name: Literal["nearest_neighbour"] = Field("nearest_neighbour", description="the method")
