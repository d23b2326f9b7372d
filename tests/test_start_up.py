"""What a start waits for: of a program that is asked for help, and of the process that each round begins with."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HEAVY = {"torch", "numpy", "pydantic", "pydicom", "nibabel", "scipy", "matplotlib", "flwr", "yaml", "cryptography"}
NOT_IN_A_ROUND = {"pydicom", "nibabel", "scipy", "skimage", "matplotlib", "jinja2", "torch._dynamo", "torch._inductor"}


def loaded(module):
    command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own command
    return set(done.stdout.split())


@pytest.mark.parametrize("program", ["client.cli", "server.cli", "simulation.cli"])
def test_the_help_waits_for_nothing_heavy(program):
    assert not HEAVY & loaded(program)


def test_a_round_s_process_waits_for_what_it_uses_only():
    assert not NOT_IN_A_ROUND & loaded("client.app, client.opening")


def test_an_exchange_of_keys_does_not_wait_for_torch():
    assert not {"torch", *NOT_IN_A_ROUND} & loaded("client.app")


def test_a_perceptual_network_waits_for_no_compiler_which_is_there_for_whoever_asks():
    program = """
import sys
from ra_core.perceptual.network import _untrained

_untrained("alex")
assert "torchvision" in sys.modules
assert not [name for name in sys.modules if name.startswith(("torch._dynamo", "torch._inductor", "sympy"))]
asked = sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
from torch._dynamo.utils import is_compile_supported
assert asked == is_compile_supported("cpu")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
