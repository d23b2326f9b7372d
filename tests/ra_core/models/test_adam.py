"""Adam without torch's compiler: the same bits, and nothing of the compiler is loaded for a step of RA."""

import subprocess
import sys

import pytest
import torch

from ra_core.models.adam import Adam

STEP = """
import sys
import torch
from ra_core.config import RuntimeConfig, TrainingConfig
from ra_core.data import HeldImages
from ra_core.models.configs import RAConfig
from ra_core.models.registry import build_method
from ra_core.runtime import Runtime
from ra_core.training import LocalTrainer

runtime = Runtime.resolve(RuntimeConfig(threads=1), "fp32")
images = HeldImages(torch.rand(2, 1, 32, 32))
method = build_method(RAConfig(channels=(4, 4), latent=4, warmup_steps=0), 32, 0)
trainer = LocalTrainer(method, images, images, TrainingConfig(batch_size=2), runtime, 0)
trainer.run(1)
trainer.restore(trainer.tensors(), trainer.facts())
assert trainer.step == 1
assert torch.are_deterministic_algorithms_enabled()
print(*sys.modules)
"""


@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.1, "betas": (0.5, 0.95)}, {"amsgrad": True}])
def test_its_steps_are_those_of_torch_to_the_bit(settings):
    ends = []
    for kind in (torch.optim.Adam, Adam):
        torch.manual_seed(0)
        layer = torch.nn.Linear(5, 3)
        optimizer = kind(layer.parameters(), fused=True, **settings)
        for step in range(6):
            optimizer.zero_grad()
            layer(torch.rand(7, 5)).square().sum().backward()
            optimizer.step()
            if step == 3:  # as a site goes on from what it has kept
                kept = optimizer.state_dict()
                optimizer = kind(layer.parameters(), fused=True, **settings)
                optimizer.load_state_dict(kept)
        ends.append(torch.cat([tensor.flatten() for tensor in layer.state_dict().values()]))
    assert torch.equal(*ends)
    assert all(weight.requires_grad for weight in layer.parameters())


def test_a_step_needs_no_compiler():
    done = subprocess.run([sys.executable, "-c", STEP], check=True, capture_output=True, text=True)  # noqa: S603 - ours
    assert not {"torch._dynamo", "torch._inductor", "sympy", "triton"} & set(done.stdout.split())
