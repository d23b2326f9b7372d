import platform
import subprocess
import sys
from textwrap import dedent

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc's allocator does")

TRAINED = """
    from ra_core.config import RuntimeConfig, TrainingConfig
    from ra_core.data import HeldImages
    from ra_core.models.configs import VAEConfig
    from ra_core.models.registry import build_method
    from ra_core.runtime import Runtime
    from ra_core.training import LocalTrainer

    machine = Runtime.resolve(RuntimeConfig(threads=1), "fp32")
    images = HeldImages(torch.rand(4, 1, 16, 16))
    method = build_method(VAEConfig(channels=(4, 4), latent=4), 16, 0)
    LocalTrainer(method, images, images, TrainingConfig(steps=20, batch_size=2), machine, 0).run(1)
"""
RETURNED = """
    from ra_core.memory import keep_memory, return_memory

    keep_memory()
    large()
    before = psutil.Process().memory_info().rss
    return_memory()
    print(before - psutil.Process().memory_info().rss)
"""
FAULTS = """
    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        large()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    print(min(faults() for _ in range(9)))
"""
MIB = 1 << 20


def told(*parts):
    """The number that a process of its own prints, in which `large` makes and frees a tensor of 256 MiB."""
    code = "import psutil, resource, torch\ndef large(): torch.ones(1 << 26)\n" + "".join(map(dedent, parts))
    return int(subprocess.check_output([sys.executable, "-c", code]))  # noqa: S603 - ours


def test_a_training_uses_memory_again_that_it_has_freed():
    assert told(FAULTS) > 10 * (told(TRAINED, FAULTS) + 1)


def test_what_lies_free_is_given_back_where_it_is_asked_for():
    assert told(RETURNED) > 200 * MIB
