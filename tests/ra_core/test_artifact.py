import json
import shutil

import pytest
import torch
from artifacts import edit_card
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_core.artifact import Artifact, Card, DataSummary, load_artifact, model_hash, save_artifact
from ra_core.config import PreprocessingConfig
from ra_core.errors import ArtifactError
from ra_core.hashing import tensor_digest
from ra_core.models.configs import RAConfig
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from ra_core.rng import generator
from ra_core.storage import load_tensors, save_tensors

METHOD = RAConfig(channels=(4, 8), latent=4)


def pictures(n=4):
    return torch.rand(n, 1, 32, 32, generator=generator(0, "pictures"))


def new_method(seed=0):
    return build_method(METHOD, 32, seed)


def card_of(weights, **changes):
    facts = {
        "method": METHOD,
        "preprocessing": PreprocessingConfig(size=32),
        "seed": 0,
        "arm": "local",
        "steps": 10,
        "rounds": 1,
        "selected": 8,
        "sites": ("discs",),
        "anatomy": "brain",
        "modality": "MR",
        "data": (
            DataSummary(
                site="discs",
                train_images=6,
                train_patients=6,
                val_images=2,
                val_patients=2,
                used_files=8,
                declared_files=9,
            ),
        ),
        "runtime": {"device": "cpu", "threads": 1},
        "software": {"torch": "x"},
        "metrics": ({"metric": "auroc", "value": None, "ci": [None, None], "note": "no healthy images"},),
        "model_hash": model_hash(weights),
    }
    return Card(**facts | changes)


@pytest.fixture(scope="module")
def artifact():
    method = new_method(seed=1)
    return Artifact(method, card_of(method))


@pytest.fixture
def folder(artifact, tmp_path):
    save_artifact(tmp_path / "model", artifact)
    return tmp_path / "model"


def trained(norm):
    """A method whose parameters and, where it has any, running statistics are not those it was built with."""
    config = METHOD.model_copy(update={"norm": norm})
    method = build_method(config, 32, 1).train()
    method.reconstruct(pictures())
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.01)
    return config, method.eval()


@pytest.mark.parametrize("norm", ["group", "frozen_batch", "batch"])
def test_a_model_read_back_gives_the_same_reconstructions(tmp_path, norm):
    config, method = trained(norm)
    card = card_of(method, method=config)
    save_artifact(tmp_path, Artifact(method, card))
    found = load_artifact(tmp_path)
    assert found.card == card
    assert not found.method.training
    with torch.inference_mode():
        assert torch.equal(found.method.reconstruct(pictures()), method.reconstruct(pictures()))
    names = set(load_tensors(tmp_path / "model.safetensors")[0])
    assert any("running_mean" in name for name in names) == (norm != "group")
    assert not any("num_batches_tracked" in name for name in names)


def test_the_count_of_batches_is_no_part_of_the_hash():
    _, method = trained("batch")
    before = model_hash(method)
    for name, buffer in method.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.add_(1)
    assert model_hash(method) == before
    method.encoder.stem[1].running_var[0] += 1
    assert model_hash(method) != before


def test_the_hash_does_not_depend_on_where_the_file_lies(artifact, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert model_hash(load_artifact(tmp_path / "elsewhere").method) == artifact.card.model_hash
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "model.safetensors"]


def test_equal_models_give_equal_files(artifact, folder, tmp_path):
    save_artifact(tmp_path / "again", artifact)
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_any_changed_weight_changes_the_hash(data):
    method = new_method()
    before = model_hash(method)
    assert before == model_hash(new_method())
    state = shared_tensors(method)
    tensor = state[data.draw(st.sampled_from(sorted(state)))]
    place = tuple(data.draw(st.integers(0, length - 1)) for length in tensor.shape)
    tensor[place] = torch.nextafter(tensor[place], torch.tensor(torch.inf))
    assert model_hash(method) != before


def test_a_card_with_another_hash_is_not_written(artifact, tmp_path):
    card = artifact.card.model_copy(update={"model_hash": "0" * 64})
    with pytest.raises(ValueError, match="model_hash"):
        save_artifact(tmp_path / "model", Artifact(artifact.method, card))
    assert not (tmp_path / "model").exists()


def refused(folder, name, *reasons):
    with pytest.raises(ArtifactError) as caught:
        load_artifact(folder)
    message = caught.value.message
    assert message.startswith(str(folder / name))
    assert all(reason in message for reason in reasons), message
    assert "\n" not in message
    assert caught.value.hint


def test_other_weights_than_the_cards_are_refused(artifact, folder):
    tensors, facts = load_tensors(folder / "model.safetensors")
    tensors["decoder.head.bias"] = tensors["decoder.head.bias"] + 1
    save_tensors(folder / "model.safetensors", tensors, facts)
    refused(folder, "model.safetensors", "wrong hash")


def test_weights_that_are_not_finite_are_refused_though_the_card_has_their_hash(folder):
    tensors, facts = load_tensors(folder / "model.safetensors")
    tensors["decoder.head.bias"][0] = torch.nan
    save_tensors(folder / "model.safetensors", tensors, facts)
    edit_card(folder, model_hash=tensor_digest(tensors))
    refused(folder, "model.safetensors", "'decoder.head.bias' is not finite")


def test_an_edited_hash_is_refused(folder):
    edit_card(folder, model_hash="0" * 64)
    refused(folder, "model.safetensors", "wrong hash")


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, name, "FileNotFoundError")


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04\x95cposix\nsystem\n", b"\xff" * 64, b"{}"])
def test_garbage_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    refused(folder, name)


@pytest.mark.parametrize("share", [0.1, 0.99])
def test_half_a_file_is_refused(folder, share):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: int(share * len(whole))])
    refused(folder, "model.safetensors", "damaged")


def test_a_missing_tensor_is_named(folder):
    tensors, facts = load_tensors(folder / "model.safetensors")
    del tensors["encoder.head.bias"]
    save_tensors(folder / "model.safetensors", tensors, facts)
    refused(folder, "model.safetensors", "'encoder.head.bias' is missing", "1 missing, 0 unknown")


def test_an_unknown_tensor_is_named(folder):
    tensors, facts = load_tensors(folder / "model.safetensors")
    save_tensors(folder / "model.safetensors", tensors | {"encoder.extra": torch.zeros(1)}, facts)
    refused(folder, "model.safetensors", "'encoder.extra' is not part of the model")


def test_another_architecture_is_refused_with_both_shapes(folder):
    edit_card(folder, method=METHOD.model_copy(update={"latent": 8}).model_dump(mode="json"))
    refused(folder, "model.safetensors", "not torch.float32 (16, ")


def test_another_dtype_is_refused(folder):
    tensors, facts = load_tensors(folder / "model.safetensors")
    tensors["encoder.head.bias"] = tensors["encoder.head.bias"].half()
    save_tensors(folder / "model.safetensors", tensors, facts)
    refused(folder, "model.safetensors", "'encoder.head.bias' is torch.float16")


def test_a_size_that_the_architecture_cannot_have_is_refused(folder):
    edit_card(folder, method=METHOD.model_copy(update={"channels": (4,) * 6}).model_dump(mode="json"))
    refused(folder, "card.json", "multiple of 64")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"format": 1}, "format"),
        ({"arm": "global"}, "arm"),
        ({"steps": "many"}, "steps"),
        ({"surprise": 1}, "surprise"),
        ({"method": {"name": "ra", "latent": 0}}, "method.latent"),
    ],
)
def test_an_edited_card_is_refused_by_key(folder, changes, key):
    edit_card(folder, **changes)
    refused(folder, "card.json", key)


def test_a_card_of_format_3_is_read(folder):
    """It knows no features, and its method looks at none."""
    path = folder / "card.json"
    card = {k: v for k, v in json.loads(path.read_text()).items() if k != "features"} | {"format": 3}
    path.write_text(json.dumps(card))
    assert load_artifact(folder).card.features == ""


def test_a_card_of_format_5_is_read(folder):
    """Made before there was federated calibration."""
    path = folder / "card.json"
    card = {k: v for k, v in json.loads(path.read_text()).items() if k != "calibration"} | {"format": 5}
    path.write_text(json.dumps(card))
    assert load_artifact(folder).card.calibration is None


@pytest.mark.parametrize(
    "key", sorted(Card.model_fields.keys() - {"format", "features", "privacy", "withdrawn", "calibration"})
)
def test_a_card_without_a_key_is_refused_by_key(folder, key):
    path = folder / "card.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != key}))
    refused(folder, "card.json", key)


def test_the_card_holds_no_path_and_nothing_of_a_single_site(folder):
    card = json.loads((folder / "card.json").read_text())
    assert card["format"] == 6
    assert not {"perceptual", "perceptual_hash", "scoring", "pixel_threshold", "healthy_hash"} & set(card)
