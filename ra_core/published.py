"""A model in one signed file, for hospitals that took no part: weights, card, and the consortium's word.

A safetensors file with the card in its header, and a signature over the card by the consortium's certificate authority
(ECDSA with SHA-256). The card has the hash of all weights, so that the signature covers them too.
"""

from __future__ import annotations

import base64
import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ra_core.artifact import Artifact, assemble, card_text, model_hash
from ra_core.errors import ArtifactError
from ra_core.files import SMALL, read_bounded, write_atomically
from ra_core.models.shared import shared_tensors

__all__ = ["read_published", "write_published"]

_SIGNED = ec.ECDSA(hashes.SHA256())
_FETCH = "fetch the file again, from the consortium itself"
_ASK = "ask the consortium for its ca.crt, and compare its SHA-256 with them on another way"


def write_published(path: Path, artifact: Artifact, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a model as one file, atomically.

    Args:
        path: of the file.
        artifact: the model.
        key: of the consortium's certificate authority.

    Raises:
        ValueError: the card's hash is not the model's.
        OSError: the disk is full or the folder can't be written.
    """
    if model_hash(artifact.method) != artifact.card.model_hash:
        raise ValueError("the card's model_hash is not the method's")
    text = card_text(artifact.card)
    signature = base64.b64encode(key.sign(text, _SIGNED)).decode()
    tensors = {name: tensor.cpu().contiguous() for name, tensor in shared_tensors(artifact.method).items()}
    write_atomically(path, save(tensors, metadata={"card": text.decode(), "signature": signature}))


def read_published(path: Path, ca_certificate: Path, now: dt.datetime) -> Artifact:
    """Read a model that a consortium has published; its word is checked before anything else is looked at.

    Args:
        path: of the file.
        ca_certificate: of the consortium that is trusted, PEM.
        now: at which its certificate has to be valid.

    Raises:
        ArtifactError: the file is damaged, was changed, or is another consortium's; or the certificate is no good.
    """
    key = _authority_key(ca_certificate, now)
    try:
        with safe_open(path, framework="pt") as file:
            text = _signed_card(path, file.metadata() or {}, key)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read ({type(error).__name__})", "check the path") from None
    except SafetensorError as error:
        raise ArtifactError(f"{path}: is damaged, or no published model ({error})", _FETCH) from None
    return assemble(text, tensors, path, path)


def _signed_card(path: Path, metadata: dict[str, str], key: ec.EllipticCurvePublicKey) -> bytes:
    """The card's text, which has been signed."""
    if set(metadata) != {"card", "signature"}:
        raise ArtifactError(f"{path}: is no published model: it has no card and signature", _FETCH)
    text = metadata["card"].encode()
    try:
        key.verify(base64.b64decode(metadata["signature"], validate=True), text, _SIGNED)
    except (InvalidSignature, ValueError):  # or it is no base64
        raise ArtifactError(
            f"{path}: is not signed by this consortium: it was changed, or is another's", f"{_FETCH}; or {_ASK}"
        ) from None
    return text


def _authority_key(path: Path, now: dt.datetime) -> ec.EllipticCurvePublicKey:
    """The public key of a certificate authority that is valid now."""
    try:
        certificate = x509.load_pem_x509_certificate(read_bounded(path, SMALL))
        certificate.verify_directly_issued_by(certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read ({type(error).__name__})", _ASK) from None
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound, x509.DuplicateExtension):
        raise ArtifactError(f"{path}: is no certificate of a certificate authority", _ASK) from None
    key = certificate.public_key()
    if not constraints.ca or not isinstance(key, ec.EllipticCurvePublicKey):
        raise ArtifactError(f"{path}: is no certificate of a consortium's certificate authority", _ASK)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        valid = f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"
        raise ArtifactError(f"{path}: is valid from {valid}, not now", f"check this machine's clock; or {_ASK}")
    return key
