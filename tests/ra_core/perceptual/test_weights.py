import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ra_core.config import PerceptualConfig
from ra_core.errors import WeightsError
from ra_core.hashing import tensor_digest
from ra_core.perceptual import Perceptual, weights
from ra_core.perceptual.weights import cache_file, hub_file, load_backbone, load_cached

ALEX = PerceptualConfig(net="alex")


def fill_hub(monkeypatch, tensors) -> Path:
    """A file in the hub cache whose name tells the start of its hash, as torchvision's do."""
    path = hub_file("alex")
    torch.save(tensors, path)
    name = f"alexnet-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    monkeypatch.setitem(weights.HUB_FILES, "alex", name)
    return path.rename(path.parent / name)


def fill_cache(monkeypatch, tensors) -> Path:
    path = cache_file("alex")
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path)
    monkeypatch.setitem(weights.PINNED, "alex", tensor_digest(tensors))
    return path


def test_search_order(places, fake, monkeypatch, tmp_path) -> None:
    given = tmp_path / "mine.safetensors"
    save_file(fake("alex"), given)
    cached = fill_cache(monkeypatch, fake("alex"))
    assert load_backbone(ALEX)[1] == cached
    hub = fill_hub(monkeypatch, fake("alex"))
    assert load_backbone(ALEX)[1] == hub
    tensors, source = load_backbone(PerceptualConfig(net="alex", weights=given))
    assert source == given
    assert tensor_digest(tensors) == tensor_digest(fake("alex"))


def test_same_network_from_every_place(places, fake, monkeypatch) -> None:
    fill_cache(monkeypatch, fake("alex"))
    from_cache = Perceptual.load(ALEX).digest
    fill_hub(monkeypatch, fake("alex"))
    assert Perceptual.load(ALEX).digest == from_cache


def test_missing_weights_name_the_three_ways(places) -> None:
    with pytest.raises(WeightsError, match="no pretrained weights of 'alex'") as caught:
        Perceptual.load(ALEX)
    assert "ra-simulate weights" in caught.value.hint
    assert "alexnet-owt-7be5be79.pth" in caught.value.hint
    assert str(places[0]) in caught.value.hint
    assert "perceptual.weights" in caught.value.hint
    assert "\n" not in caught.value.hint + caught.value.message


def test_squeeze_is_never_promised_by_the_fetch(places) -> None:
    with pytest.raises(WeightsError) as caught:
        Perceptual.load(PerceptualConfig(net="squeeze"))
    assert "squeezenet1_1-b8a52dc0.pth" in caught.value.hint
    assert "ra-simulate weights" not in caught.value.hint


def test_damaged_hub_file_is_no_reason_to_look_further(places, fake, monkeypatch) -> None:
    fill_cache(monkeypatch, fake("alex"))
    path = fill_hub(monkeypatch, fake("alex"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(WeightsError, match=rf"{path.name}: SHA-256 begins with"):
        load_backbone(ALEX)


def test_cache_must_hold_the_pinned_weights(places, fake) -> None:
    cache_file("alex").parent.mkdir()
    save_file(fake("alex"), cache_file("alex"))
    with pytest.raises(WeightsError, match="other weights than expected"):
        load_cached("alex")
    cache_file("alex").write_bytes(b"no safetensors")
    with pytest.raises(WeightsError, match="can't be read"):
        load_cached("alex")


def test_given_file_that_is_missing_or_of_another_kind(tmp_path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        load_backbone(PerceptualConfig(net="alex", weights=tmp_path / "none.pth"))
    other = tmp_path / "weights.bin"
    other.touch()
    with pytest.raises(WeightsError, match="neither"):
        load_backbone(PerceptualConfig(net="alex", weights=other))


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("bomb"),)


@pytest.mark.parametrize(
    "content", [b"", b"text", pickle.dumps(Bomb(), 2), pickle.dumps({"features.0.weight": Bomb()}, 2)]
)
def test_unreadable_or_harmful_pth_is_refused(tmp_path, monkeypatch, content) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.pth: can't be read"):
        load_backbone(PerceptualConfig(net="alex", weights=path))
    assert not Path("bomb").exists()


def test_pth_that_is_no_state_dict_is_refused(tmp_path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="no state dict"):
        load_backbone(PerceptualConfig(net="alex", weights=tmp_path / "w.pth"))
