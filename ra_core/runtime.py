"""The machine a run computes on, resolved once at its start and recorded: the bits of a model depend on it."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch

from ra_core.config import Precision, RuntimeConfig
from ra_core.errors import ConfigError
from ra_core.memory import keep_memory
from ra_core.models.configs import CONFIGS, MethodSettings

__all__ = ["Runtime", "available", "software_versions"]

PACKAGES = ("federated-ra", "torch", "torchvision", "lpips", "numpy", "scikit-image", "pillow", "pydicom", "nibabel")
"""What results depend on, whatever the method."""


def available(name: str) -> torch.device:
    """The device of this name: cpu, cuda or cuda:N.

    Raises:
        ConfigError: it isn't there, or is none of these.
    """
    asked = re.fullmatch(r"(cpu|cuda)(?::(\d+))?", name)
    here = torch.cuda.device_count() if name.startswith("cuda") else 1
    if not asked or int(asked[2] or 0) >= here:
        raise ConfigError(f"device '{name}' is not available", "take cpu (runtime.device, --device), cuda or cuda:N")
    return torch.device(name)


@dataclass(frozen=True)
class Runtime:
    """Device, threads and precision in force. Make it with `Runtime.resolve`.

    bf16 means autocast of the forward pass; weights, losses, optimizer states and all of scoring stay in float32.
    """

    device: torch.device
    threads: int
    precision: str
    processor: str

    @classmethod
    def resolve(cls, config: RuntimeConfig, precision: Precision) -> Runtime:
        """Settle what precision "auto" means here, and set memory, torch's threads and determinism for this process.

        Raises:
            ConfigError: the device asked for isn't there.
        """
        device = available(config.device)
        if precision == "auto":
            precision = "bf16" if _fast_bf16(device) else "fp32"
        keep_memory()
        torch.set_num_threads(config.threads)
        torch.set_deterministic_debug_mode("error")  # as `use_deterministic_algorithms`, which imports torch's compiler
        torch.backends.cudnn.allow_tf32 = False  # fp32 means float32 on a GPU too
        # A debugging aid that costs 14 % of a step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        return cls(device, config.threads, precision, _processor(device))

    @property
    def autocast(self) -> Callable[[], AbstractContextManager[object]]:
        """A factory of the context in which forward passes of training run."""
        return lambda: torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def record(self) -> dict[str, str | int]:
        """For cards and run records."""
        return {
            "device": str(self.device),
            "threads": self.threads,
            "precision": self.precision,
            "processor": self.processor,
        }


def software_versions(method: MethodSettings | None = None) -> dict[str, str]:
    """Versions that a result may depend on, by package name; what isn't installed is left out.

    Args:
        method: the one in use; without it, the libraries of all methods are told.
    """
    kinds = CONFIGS.values() if method is None else (method,)
    own = {library for kind in kinds for library in kind.libraries}
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *sorted(own)):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _fast_bf16(device: torch.device) -> bool:
    """AMX or AVX512-BF16 on a CPU, compute capability 8 or more on a GPU; elsewhere bf16 is emulated and slow."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def _processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine())
