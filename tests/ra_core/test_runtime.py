import json

import pytest
import torch

from ra_core.config import RuntimeConfig
from ra_core.errors import ConfigError
from ra_core.models.configs import DDPMConfig, RAConfig
from ra_core.runtime import Runtime, software_versions

THREADS = torch.get_num_threads()


def resolve(precision="auto", **settings):
    return Runtime.resolve(RuntimeConfig(threads=THREADS, **settings), precision)


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "fp32"), ({}, "fp32")],
)
def test_auto_is_bf16_where_the_processor_is_fast_at_it(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve(precision="auto").precision == precision


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stated_precision_is_kept_and_decides_on_autocast(precision):
    runtime = resolve(precision=precision)
    assert runtime.precision == precision
    with runtime.autocast():
        found = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert found == (torch.bfloat16 if precision == "bf16" else torch.float32)


def test_threads_and_determinism_are_set():
    resolve()
    assert torch.get_num_threads() == THREADS
    assert torch.are_deterministic_algorithms_enabled()


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="'cuda:1' is not available") as caught:
        resolve(device="cuda:1")
    assert "cpu" in caught.value.hint


def test_the_record_is_plain_json_and_says_what_bits_depend_on():
    record = resolve(precision="fp32").record()
    assert json.loads(json.dumps(record)) == record
    assert (record["device"], record["threads"], record["precision"]) == ("cpu", THREADS, "fp32")
    assert record["processor"]


def test_software_versions_are_those_of_this_process():
    found = software_versions()
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert {"python", "federated-ra", "numpy", "lpips"} <= set(found)
    assert all(found.values())
    assert {"diffusers", "timm", "zuko"} <= set(found)


def test_libraries_of_one_method_are_told_of_it_alone(monkeypatch):
    assert {"diffusers", "timm", "zuko"} & set(software_versions(DDPMConfig())) == {"diffusers"}
    assert {"diffusers", "timm", "zuko"} & set(software_versions(RAConfig())) == set()


def test_what_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(DDPMConfig, "libraries", ("no-such-package",))
    assert "no-such-package" not in software_versions(DDPMConfig())
