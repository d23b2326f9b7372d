import os
import pickle
import stat
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ra_core.files import cache_folder, write_atomically
from ra_core.storage import load_tensors, save_tensors


def test_a_file_is_written_whole_with_its_folder_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a" / "b" / "file.bin"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch, broken):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    if broken == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_rights_are_those_asked_for_less_the_umask(tmp_path):
    earlier = os.umask(0o022)
    try:
        write_atomically(tmp_path / "public", b"")
        write_atomically(tmp_path / "secret", b"", mode=0o600)
    finally:
        os.umask(earlier)
    assert stat.S_IMODE((tmp_path / "public").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_folder_that_is_a_file_is_an_os_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        write_atomically(tmp_path / "file" / "x", b"")


facts = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(
    facts,
    st.lists(st.integers(0, 4), max_size=3),
    st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bfloat16, torch.bool]),
)
def test_tensors_and_facts_come_back_as_they_were(tmp_path_factory, facts, shape, dtype):
    path = tmp_path_factory.getbasetemp() / "roundtrip.safetensors"
    tensors = {"a": (10 * torch.rand(shape)).to(dtype), "b.c": torch.arange(6).view(2, 3).T}
    save_tensors(path, tensors, facts)
    found, found_facts = load_tensors(path)
    assert found_facts == facts
    assert set(found) == set(tensors)
    assert all(found[k].dtype == v.dtype and torch.equal(found[k], v) for k, v in tensors.items())


def test_equal_content_gives_equal_bytes_whatever_the_memory_layout(tmp_path):
    x = torch.rand(2, 3, 4, 4)
    save_tensors(tmp_path / "a", {"x": x}, {"step": 1})
    save_tensors(tmp_path / "b", {"x": x.to(memory_format=torch.channels_last)}, {"step": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_parameters_are_saved_without_their_graph(tmp_path):
    save_tensors(tmp_path / "a", {"x": torch.nn.Parameter(torch.ones(2))}, {})
    assert not load_tensors(tmp_path / "a")[0]["x"].requires_grad


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100, pickle.dumps({"a": 1})])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"^x\.safetensors is damaged"):
        load_tensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize("metadata", [None, {"other": "1"}, {"facts": "{"}])
def test_a_file_of_another_program_is_named(tmp_path, metadata):
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors", metadata=metadata)
    with pytest.raises(ValueError, match="not written by this program"):
        load_tensors(tmp_path / "x.safetensors")


def test_a_missing_file_and_a_folder_are_os_errors(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(OSError):  # noqa: PT011 - the system's words differ
            load_tensors(path)


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("RA_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("RA_CACHE")
        else:
            monkeypatch.setenv("RA_CACHE", unset)
        assert cache_folder().name == "federated-ra"
        assert cache_folder().is_absolute()
