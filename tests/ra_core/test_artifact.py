import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_core.artifact import Artifact, Card, DataSummary, healthy_hash, load_artifact, model_hash, save_artifact
from ra_core.config import PreprocessingConfig
from ra_core.errors import ArtifactError
from ra_core.hashing import tensor_digest
from ra_core.models.ra import RAConfig
from ra_core.models.registry import build_method
from ra_core.rng import generator
from ra_core.scoring import Scorer, ScoringConfig
from ra_core.site_scorer import SiteScorer
from ra_core.storage import load_tensors, save_tensors

CPU = torch.device("cpu")
METHOD = RAConfig(channels=(4, 8), latent=4)
SCORING = ScoringConfig(name="standardised", factors=("residual",), standardise=True)


def pictures(n=4):
    return torch.rand(n, 1, 32, 32, generator=generator(0, "pictures"))


def new_method(seed=0):
    return build_method(METHOD, 32, seed)


def site_scorer(method, healthy=None):
    if healthy is None:
        return SiteScorer.fit(method, Scorer(None), [SCORING], [pictures(6)], CPU)
    return SiteScorer(method, Scorer(None), [SCORING], healthy, CPU)


@pytest.fixture(scope="module")
def artifact():
    method = new_method(seed=1)
    card = Card(
        method=METHOD,
        preprocessing=PreprocessingConfig(size=32),
        seed=0,
        steps=10,
        selected_step=8,
        rounds=1,
        sites=("discs",),
        data=(DataSummary(site="discs", train_images=6, train_patients=6, val_images=2, val_patients=2),),
        runtime={"device": "cpu", "threads": 1},
        software={"torch": "x"},
        scoring=SCORING,
        pixel_threshold=1.5,
        perceptual_net="alex",
        perceptual_hash="none",
        metrics=({"metric": "auroc", "value": None, "ci": [None, None], "note": "no healthy images"},),
        model_hash=model_hash(method),
        healthy_hash=healthy_hash(site_scorer(method).healthy),
    )
    return Artifact(method, card, site_scorer(method).healthy)


@pytest.fixture
def folder(artifact, tmp_path):
    save_artifact(tmp_path / "model", artifact)
    return tmp_path / "model"


def edit_card(folder, **changes):
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_model_read_back_gives_the_same_scores(artifact, folder):
    found = load_artifact(folder)
    assert found.card == artifact.card
    assert not found.method.training
    before = site_scorer(artifact.method, artifact.healthy).scores([pictures()])
    after = site_scorer(found.method, found.healthy).scores([pictures()])
    assert np.array_equal(before["standardised"], after["standardised"])


def test_the_hash_does_not_depend_on_where_the_file_lies(artifact, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert model_hash(load_artifact(tmp_path / "elsewhere").method) == artifact.card.model_hash
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "healthy.safetensors", "model.safetensors"]


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
    state = {f"{part}.{k}": v for part, m in method.shared_parts().items() for k, v in m.state_dict().items()}
    tensor = state[data.draw(st.sampled_from(sorted(state)))].view(-1)
    place = data.draw(st.integers(0, len(tensor) - 1))
    tensor[place] = torch.nextafter(tensor[place], torch.tensor(torch.inf))
    assert model_hash(method) != before


def test_a_card_with_another_hash_is_not_written(artifact, tmp_path):
    card = artifact.card.model_copy(update={"model_hash": "0" * 64})
    with pytest.raises(ValueError, match="model_hash"):
        save_artifact(tmp_path / "model", Artifact(artifact.method, card, {}))
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


def test_an_edited_hash_is_refused(folder):
    edit_card(folder, model_hash="0" * 64)
    refused(folder, "model.safetensors", "wrong hash")


@pytest.mark.parametrize("name", ["card.json", "model.safetensors", "healthy.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, name, "FileNotFoundError")


@pytest.mark.parametrize("name", ["card.json", "model.safetensors", "healthy.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04\x95cposix\nsystem\n", b"\xff" * 64, b"{}"])
def test_garbage_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    refused(folder, name)


@pytest.mark.parametrize("name", ["model.safetensors", "healthy.safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.99])
def test_half_a_file_is_refused(folder, name, share):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(share * len(whole))])
    refused(folder, name, "damaged")


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
        ({"format": 2}, "format"),
        ({"steps": "many"}, "steps"),
        ({"surprise": 1}, "surprise"),
        ({"method": {"name": "ra", "latent": 0}}, "method.latent"),
    ],
)
def test_an_edited_card_is_refused_by_key(folder, changes, key):
    edit_card(folder, **changes)
    refused(folder, "card.json", key)


@pytest.mark.parametrize("key", Card.model_fields.keys() - {"format"})
def test_a_card_without_a_key_is_refused_by_key(folder, key):
    path = folder / "card.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != key}))
    refused(folder, "card.json", key)


def test_statistics_without_their_spread_are_refused(folder):
    tensors, facts = load_tensors(folder / "healthy.safetensors")
    del tensors["standardised/spread"]
    save_tensors(folder / "healthy.safetensors", tensors, facts)
    refused(folder, "healthy.safetensors", "standardised/spread")


def test_a_standardised_scoring_without_statistics_is_refused(folder):
    """Its maps would silently be unstandardised."""
    save_tensors(folder / "healthy.safetensors", {}, {})
    refused(folder, "healthy.safetensors", "'standardised'")


def test_other_statistics_than_the_cards_are_refused_before_they_are_used(folder):
    tensors, facts = load_tensors(folder / "healthy.safetensors")
    save_tensors(folder / "healthy.safetensors", {n: t.bfloat16() for n, t in tensors.items()}, facts)
    refused(folder, "healthy.safetensors", "wrong hash")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.bfloat16(), "torch.bfloat16 (32, 32), not torch.float64"),
        (lambda t: t[:16].clone(), "torch.float64 (16, 32), not torch.float64 (32, 32)"),
    ],
)
def test_statistics_of_another_kind_or_size_are_refused_though_the_card_has_their_hash(folder, change, reason):
    tensors, facts = load_tensors(folder / "healthy.safetensors")
    changed = {name: change(tensor) for name, tensor in tensors.items()}
    save_tensors(folder / "healthy.safetensors", changed, facts)
    edit_card(folder, healthy_hash=tensor_digest(changed))
    refused(folder, "healthy.safetensors", reason)


def test_the_card_holds_no_path(folder):
    card = json.loads((folder / "card.json").read_text())
    assert (card["perceptual_net"], card["perceptual_hash"]) == ("alex", "none")
    assert "perceptual" not in card
