import base64
import datetime as dt
import json
import shutil
from pathlib import Path

import pytest
import torch
from artifacts import new_artifact
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from ra_core.artifact import Artifact, model_hash
from ra_core.errors import ArtifactError
from ra_core.hashing import tensor_digest
from ra_core.models.shared import shared_tensors
from ra_core.published import read_published, write_published

NOW = dt.datetime(2030, 1, 2, tzinfo=dt.UTC)


def certificate(path, key, signer=None, ca=True, days=10, constraints=True):
    """A certificate of `key`, by itself if no signer is given."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test")])
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=10))
        .not_valid_after(NOW + dt.timedelta(days=days))
    )
    if constraints:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    made = builder.sign(signer or key, hashes.SHA256())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def artifact():
    return new_artifact(sites=("a", "ü"))


@pytest.fixture
def ca(key, tmp_path):
    return certificate(tmp_path / "ca.crt", key)


@pytest.fixture
def file(artifact, key, tmp_path):
    write_published(tmp_path / "model.safetensors", artifact, key)
    return tmp_path / "model.safetensors"


@pytest.fixture(scope="module")
def pair(artifact, key, tmp_path_factory):
    """A function that copies a published model, and its certificate, for each example.

    Signed once: signatures have several lengths, and hypothesis draws places in a file that may not change its own.
    """
    original = tmp_path_factory.mktemp("original")
    write_published(original / "model", artifact, key)
    ca = certificate(original / "ca.crt", key)

    def make():
        folder = tmp_path_factory.mktemp("changed")
        return Path(shutil.copy(original / "model", folder)), ca

    return make


def parts(path):
    with safe_open(path, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


def rewrite(path, tensors=None, **metadata):
    """The file with other tensors or metadata; a value of None takes a key away."""
    earlier, facts = parts(path)
    facts = {name: text for name, text in (facts | metadata).items() if text is not None}
    save_file(earlier if tensors is None else tensors, path, metadata=facts)


def sign(text, key):
    return base64.b64encode(key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))).decode()


def refused(file, ca, *words, named=None):
    with pytest.raises(ArtifactError) as caught:
        read_published(file, ca, NOW)
    told = caught.value.message
    assert told.startswith(str(named or file)), told
    assert all(word in told for word in words), told
    assert "\n" not in told
    assert caught.value.hint


def test_a_published_model_is_the_same_model(artifact, file, ca):
    found = read_published(file, ca, NOW)
    assert found.card == artifact.card
    assert model_hash(found.method) == artifact.card.model_hash
    assert not found.method.training


def test_a_card_with_another_hash_is_not_published(artifact, key, tmp_path):
    card = artifact.card.model_copy(update={"model_hash": "0" * 64})
    with pytest.raises(ValueError, match="model_hash"):
        write_published(tmp_path / "x", Artifact(artifact.method, card), key)
    assert not (tmp_path / "x").exists()


def test_another_consortiums_word_is_not_taken(file, tmp_path):
    refused(file, certificate(tmp_path / "other.crt", ec.generate_private_key(ec.SECP256R1())), "not signed")


def test_an_edited_card_is_refused(file, ca):
    card = json.loads(parts(file)[1]["card"])
    rewrite(file, card=json.dumps(card | {"sites": ["a", "ü", "c"]}))
    refused(file, ca, "not signed")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_changed_character_of_the_card_is_refused(data, pair):
    file, ca = pair()
    text = parts(file)[1]["card"]
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(codec="utf-8", exclude_characters=text[place]))
    rewrite(file, card=text[:place] + letter + text[place + 1 :])
    refused(file, ca, "not signed")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_the_file_is_refused_or_changes_nothing(data, artifact, pair):
    file, ca = pair()
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    try:
        found = read_published(file, ca, NOW)
    except ArtifactError as error:
        assert error.message.startswith(str(file))  # noqa: PT017 - either of the two is right
    else:
        assert (found.card, model_hash(found.method)) == (artifact.card, artifact.card.model_hash)


def test_other_weights_than_the_cards_are_refused(file, ca):
    tensors, _ = parts(file)
    rewrite(file, tensors | {"decoder.head.bias": tensors["decoder.head.bias"] + 1})
    refused(file, ca, "wrong hash")


def test_more_or_fewer_weights_are_refused(file, ca):
    tensors, _ = parts(file)
    rewrite(file, tensors | {"extra": torch.zeros(1)})
    refused(file, ca, "'extra' is not part of the model")
    del tensors["decoder.head.bias"]
    rewrite(file, tensors)
    refused(file, ca, "'decoder.head.bias' is missing")


def test_weights_of_another_signed_model_are_refused(file, ca):
    rewrite(file, {name: tensor.contiguous() for name, tensor in shared_tensors(new_artifact(seed=2).method).items()})
    refused(file, ca, "wrong hash")


def test_weights_that_are_not_finite_are_refused_though_they_are_signed(file, ca, key):
    tensors, facts = parts(file)
    tensors["decoder.head.bias"][0] = torch.nan
    card = json.dumps(json.loads(facts["card"]) | {"model_hash": tensor_digest(tensors)})
    rewrite(file, tensors, card=card, signature=sign(card, key))
    refused(file, ca, "not finite")


@pytest.mark.parametrize("signature", ["", "AAAA", "not base64!", "ü"])
def test_no_signature_is_no_signature(file, ca, signature):
    rewrite(file, signature=signature)
    refused(file, ca, "not signed")


def test_a_signature_over_something_else_is_refused(file, ca, key):
    rewrite(file, signature=sign("another card", key))
    refused(file, ca, "not signed")


@pytest.mark.parametrize("change", [{"card": None}, {"signature": None}, {"more": "x"}])
def test_a_file_with_other_facts_is_no_published_model(file, ca, change):
    rewrite(file, **change)
    refused(file, ca, "no published model")


def test_a_card_of_another_version_is_refused_by_key_though_it_is_signed(file, ca, key):
    card = json.dumps(json.loads(parts(file)[1]["card"]) | {"format": 99})
    rewrite(file, card=card, signature=sign(card, key))
    refused(file, ca, "format")


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.9, 0.999])
def test_a_truncated_file_is_refused(file, ca, share):
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    refused(file, ca, "damaged")


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04\x95cposix\nsystem\n", b"\xff" * 64, b"PK\x03\x04"])
def test_garbage_is_refused(file, ca, content):
    file.write_bytes(content)
    refused(file, ca, "damaged")


def test_a_missing_file_is_named(ca, tmp_path):
    refused(tmp_path / "none", ca, "FileNotFoundError")
    refused(tmp_path / "none", tmp_path / "no.crt", "FileNotFoundError", named=tmp_path / "no.crt")


def test_a_certificate_that_is_no_authoritys_is_refused(file, key, tmp_path):
    for kind in ({"ca": False}, {"constraints": False}, {"signer": ec.generate_private_key(ec.SECP256R1())}):
        bad = certificate(tmp_path / "bad.crt", key, **kind)
        refused(file, bad, "certificate authority", named=bad)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_certificate_that_is_none_is_refused(file, tmp_path, content):
    (tmp_path / "bad.crt").write_bytes(content)
    refused(file, tmp_path / "bad.crt", "no certificate", named=tmp_path / "bad.crt")


def test_an_expired_authority_is_not_trusted(file, key, tmp_path):
    old = certificate(tmp_path / "old.crt", key, days=-1)
    refused(file, old, "2030-01-01, not now", named=old)
    with pytest.raises(ArtifactError, match="not now"):
        read_published(file, certificate(tmp_path / "ca.crt", key), NOW - dt.timedelta(days=11))
