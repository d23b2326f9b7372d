"""The model of a run as a signed file, for hospitals that took no part."""

from __future__ import annotations

from pathlib import Path

from ra_core.artifact import load_artifact
from ra_core.daemons.events import Events
from ra_core.errors import ConfigError
from ra_core.published import write_published
from ra_core.words import listed
from server.consortium import Consortium
from server.provisioning.provision import load_authority
from server.run_files import EVENTS, MODEL

__all__ = ["publish"]


def publish(consortium: Consortium, run: str, out: Path, despite_withdrawal: bool = False) -> list[str]:
    """Write it; the value says in lines what was written.

    Args:
        consortium: of the operator.
        run: its name.
        out: the file to write.
        despite_withdrawal: write a model from which a site has withdrawn too; its card says so.

    Raises:
        ConfigError: there is no such run, it has chosen no model yet, the file is there already, a site has withdrawn
            from the model, or the authority's key is not here.
        ArtifactError: the run's model is damaged.
        OSError: the file can't be written.
    """
    model = consortium.run(run) / MODEL
    if not model.is_dir():
        hint = "`ra-server runs` tells of all; a model is there at a run's end, if no layer of it stays at the sites"
        raise ConfigError(f"run '{run}' has no model", hint)
    if out.exists():
        raise ConfigError(f"{out}: is there already", "give another --out")
    key, _ = load_authority(consortium)
    artifact = load_artifact(model)
    card = artifact.card
    if card.withdrawn and not despite_withdrawal:
        hint = f"`ra-server withdraw '{card.withdrawn[0]}' --retrain '{run}'` trains one without; --despite-withdrawal"
        raise ConfigError(f"{listed(card.withdrawn)} withdrew from the model of '{run}'", f"{hint} publishes this")
    write_published(out, artifact, key)
    Events(consortium.run(run) / EVENTS).tell("published", file=out.name, model_hash=card.model_hash)
    return [
        *([f"{listed(card.withdrawn)} withdrew from it: its card says so"] if card.withdrawn else []),
        f"wrote {out}: model {card.model_hash[:16]} of {len(card.sites)} sites, round {card.selected} of {card.rounds}",
        f"hospitals read it with `ra-client import {out.name} site.yaml --ca ca.crt`: hand them "
        f"{consortium.ca_certificate} too, and its SHA-256 on another way",
    ]
