"""What the settings of methods say of them, before any method is built."""

from contextlib import nullcontext

import pytest
import torch
from looking import pictures

from ra_core.models import features
from ra_core.models.configs import CONFIGS
from ra_core.models.method import StepState
from ra_core.models.registry import build_method

GRADIENT = [name for name, kind in CONFIGS.items() if not kind.fitted]
FITTED = [name for name, kind in CONFIGS.items() if kind.fitted]


@pytest.mark.parametrize("name", GRADIENT)
def test_settings_know_the_learning_rate_of_each_step(name, untrained_perceptual, monkeypatch):
    monkeypatch.setattr(features, "pretrained", lambda *_: untrained_perceptual)
    config = CONFIGS[name]()
    method = build_method(config, 64, 0).train()
    optimizers = method.optimizers()
    for step in (0, 2500):
        method.training_step(pictures(2), StepState(step, 0, optimizers, nullcontext, torch.device("cpu")))
        found = {group["lr"] for optimizer in optimizers.values() for group in optimizer.param_groups}
        assert found == {config.rate(step)}


@pytest.mark.parametrize("name", FITTED)
def test_what_is_computed_in_one_pass_has_no_learning_rate(name):
    with pytest.raises(ValueError, match="one pass"):
        CONFIGS[name]().rate(0)
