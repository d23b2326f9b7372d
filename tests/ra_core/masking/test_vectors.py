"""What we call computes what the standards print."""

import hashlib
import hmac
import os

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ra_core.errors import MaskingError
from ra_core.masking.keys import agree, derive, is_usable, new_private, public_of
from ra_core.masking.sharing import open_sealed, seal
from ra_core.masking.stream import add_stream

# RFC 8439, appendix A.1, test vectors 1 and 2: key and nonce zero, blocks 0 and 1.
ZERO_KEY = bytes.fromhex(
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
    "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
)


def test_the_mask_is_chacha20s_keystream_in_little_endian_words():
    words = np.zeros(16, np.uint64)
    add_stream(words, bytes(32), 1)
    assert words.tolist() == [int.from_bytes(ZERO_KEY[at : at + 8], "little") for at in range(0, 128, 8)]


def test_other_keys_give_the_appendixs_third_and_fourth_vectors():
    """Of which the first 32 bytes are compared; they begin at blocks 1 and 2."""
    for key, block, begins in (
        (bytes(31) + b"\x01", 1, "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"),
        (b"\x00\xff" + bytes(30), 2, "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca"),
    ):
        words = np.zeros(24, np.uint64)
        add_stream(words, key, 1)
        assert words.astype("<u8").tobytes()[64 * block :].hex().startswith(begins)


def test_chunks_make_one_stream():
    """Two and a half chunks of it, against a cipher that makes it at once."""
    key, size = os.urandom(32), (5 << 16) // 2 + 3
    words = np.zeros(size, np.uint64)
    add_stream(words, key, 1)
    whole = Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor().update(bytes(8 * size))
    assert words.tobytes() == np.frombuffer(whole, "<u8").astype(np.uint64).tobytes()
    add_stream(words, key, -1)
    assert not words.any()


def test_the_derivation_is_rfc_5869s():
    """Test case 3 has no salt and no info; case 1 has both."""
    okm = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert derive(b"\x0b" * 22, b"") == bytes.fromhex(okm)[:32]
    case_1 = HKDF(hashes.SHA256(), 42, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA))).derive(b"\x0b" * 22)
    okm = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    assert case_1 == bytes.fromhex(okm)


def test_the_context_enters_as_info():
    secret, context = os.urandom(32), b"what for"
    extracted = hmac.digest(bytes(32), secret, "sha256")
    assert derive(secret, context) == hmac.digest(extracted, context + b"\x01", hashlib.sha256)


def test_the_agreement_is_rfc_7748s():
    private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    other = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    assert public_of(private).hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert public_of(other).hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert agree(private, public_of(other), b"c") == agree(other, public_of(private), b"c") == derive(shared, b"c")


def test_a_key_with_which_every_agreement_is_zero_is_known():
    assert is_usable(public_of(new_private()))
    for bad in (bytes(32), b"\x01" + bytes(31)):
        assert not is_usable(bad)
        with pytest.raises(ValueError, match="shared key"):
            agree(new_private(), bad, b"c")


def test_sealing_is_chacha20_poly1305_and_anything_altered_is_refused():
    key, plain = os.urandom(32), os.urandom(64)
    sealed = seal(plain, key, b"context")
    assert len(sealed) == 92
    assert ChaCha20Poly1305(key).decrypt(sealed[:12], sealed[12:], b"context") == plain
    assert open_sealed(sealed, key, b"context") == plain
    assert seal(plain, key, b"context") != sealed
    altered = [bytes([byte ^ (at == place) for at, byte in enumerate(sealed)]) for place in (0, 12, 50, 91)]
    for bad, context in [*((found, b"context") for found in altered), (sealed, b"other"), (sealed[:11], b"context")]:
        with pytest.raises(MaskingError, match="can't be opened"):
            open_sealed(bad, key, context)
