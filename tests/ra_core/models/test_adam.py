"""Adam without torch's compiler: the same bits, and nothing of the compiler is loaded for a step."""

import subprocess
import sys

import pytest
import torch

from ra_core.models.adam import Adam

STEP = """
import sys
import torch
from ra_core.config import RuntimeConfig
from ra_core.models.adam import Adam
from ra_core.runtime import Runtime

Runtime.resolve(RuntimeConfig(threads=1), "fp32")
weight = torch.nn.Parameter(torch.ones(3))
optimizer = Adam([weight], fused=True)
weight.square().sum().backward()
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
optimizer.zero_grad()
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
