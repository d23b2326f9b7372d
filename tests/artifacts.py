"""Tiny models that need no training, with their cards."""

import json

from ra_core.artifact import Artifact, Card, model_hash
from ra_core.config import PreprocessingConfig
from ra_core.models.configs import RAConfig
from ra_core.models.registry import build_method

METHOD = RAConfig(channels=(4, 8), latent=4)


def new_artifact(size=32, seed=1, preprocessing=None, **facts):
    """A method as `seed` makes it; `facts` are other ones for its card."""
    method = build_method(METHOD, size, seed).eval()
    usual = {
        "method": METHOD,
        "preprocessing": PreprocessingConfig(size=size, **preprocessing or {}),
        "seed": seed,
        "arm": "federated",
        "steps": 10,
        "rounds": 2,
        "selected": 2,
        "sites": ("north", "south west"),
        "anatomy": "brain",
        "modality": "MR",
        "data": (),
        "runtime": {},
        "software": {},
        "metrics": (),
        "model_hash": model_hash(method),
    }
    return Artifact(method, Card(**usual | facts))


def edit_card(folder, **changes):
    """Change fields of a model folder's card."""
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
