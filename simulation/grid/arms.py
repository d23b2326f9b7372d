"""The ways to train that a study compares, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ra_core.models.configs import MethodSettings

__all__ = ["ARMS", "UNTRAINED", "ArmKind", "Variant", "lack", "refusal", "variants"]

UNTRAINED = "none"
"""Stands in place of an arm where nothing is trained: for shortcuts."""


@dataclass(frozen=True)
class ArmKind:
    """A way to train.

    Attributes:
        meaning: one line for people.
        source: where it comes from.
        federation: what it changes in the study's `federation`; None is no federation.
        members: which sites make one model: all, each (a model a site), all_but_one (a model a site left out), or
            growing (the first two, three, ... sites).
    """

    meaning: str
    source: str
    federation: Mapping[str, Any] | None = None
    members: str = "all"

    @property
    def private(self) -> bool:
        """Whether sites keep parts of the model to themselves."""
        changed = self.federation or {}
        return bool(changed.get("parts") or changed.get("local_norms"))


ARMS: dict[str, ArmKind] = {
    "local": ArmKind(
        "each site's own model, on its own images", "a baseline: what a hospital has alone", members="each"
    ),
    "pooled": ArmKind("one model on all images in one place", "a baseline: what federation gives up"),
    "fedavg": ArmKind("federated averaging", "McMahan et al. 2017, arXiv 1602.05629", {}),
    "fedprox": ArmKind(
        "federated averaging with a pull towards the global model",
        "Li et al. 2020, arXiv 1812.06127",
        {"proximal_mu": 0.01},
    ),
    "fedavgm": ArmKind(
        "federated averaging with momentum at the server",
        "Hsu et al. 2019, arXiv 1909.06335",
        {"optimizer": {"name": "momentum", "momentum": 0.9, "learning_rate": 0.3}},
    ),
    "fedadam": ArmKind(
        "federated averaging with Adam at the server",
        "Reddi et al. 2021, arXiv 2003.00295",
        {"optimizer": {"name": "adam", "learning_rate": 0.003}},
    ),
    "local_norms": ArmKind(
        "norm layers stay at each site", "FedBN, Li et al. 2021, arXiv 2102.07623", {"local_norms": True}
    ),
    "encoder_only": ArmKind(
        "only the encoder is shared", "partial sharing, as FedDis, Bercea et al. 2022", {"parts": ("encoder",)}
    ),
    "decoder_only": ArmKind(
        "only the decoder is shared", "partial sharing, as FedDis, Bercea et al. 2022", {"parts": ("decoder",)}
    ),
    "leave_one_out": ArmKind(
        "federated averaging without one site, for each",
        "this project: what a hospital gets that took no part",
        {},
        "all_but_one",
    ),
    "growing": ArmKind(
        "federated averaging of the first two, three, ... sites", "this project: what another site adds", {}, "growing"
    ),
}


@dataclass(frozen=True)
class Variant:
    """One model, or one set of models with private parts, of an arm.

    Attributes:
        name: of it within the arm; empty where there is only one.
        sites: trained on.
    """

    name: str
    sites: tuple[str, ...] = ()


def variants(arm: str, sites: Sequence[str], alone: Sequence[str] = ()) -> Iterator[Variant]:
    """All of an arm; none where there are too few sites for it (`lack`).

    Args:
        arm: its name.
        sites: that may be trained on.
        alone: that may be trained on for themselves only: held-out ones with healthy images of their own, whose own
            models the others' are held against.
    """
    members, everyone = ARMS[arm].members, tuple(sites)
    if lack(arm, len(everyone)):
        return
    if members == "each":
        yield from (Variant(site, (site,)) for site in (*everyone, *alone))
    elif members == "all_but_one":
        yield from (Variant(f"without {site}", tuple(s for s in everyone if s != site)) for site in everyone)
    elif members == "growing":
        yield from (Variant(f"{count} sites", everyone[:count]) for count in range(2, len(everyone)))
    else:
        yield Variant("", everyone)


def lack(arm: str, sites: int) -> str:
    """Why there can't be an arm over so many sites; empty where there can."""
    kind = ARMS[arm]
    # A federation of one is no federation: one that is left out leaves two, and what grows begins with two of three.
    needed = 1 if kind.federation is None else 2 if kind.members == "all" else 3
    return f"it needs {needed} sites to train on, not {sites}" if sites < needed else ""


def refusal(arm: str, method: MethodSettings) -> str:
    """Why a method can't be trained in this way; empty where it can."""
    kind = ARMS[arm]
    if kind.federation is None:
        return ""
    if method.local_only:
        return method.local_only
    changed = kind.federation
    if method.fitted and changed:
        return "it has no steps of training that this would change"
    if changed.get("local_norms") and not method.has_norms:
        return "it has no norm layers that could stay at a site"
    lacking = sorted(set(changed.get("parts") or ()) - set(method.parts))
    return f"it has no part '{lacking[0]}'" if lacking else ""
