import itertools
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from ra_core.errors import MaskingError
from ra_core.masking.sharing import combine, commitment, split


def numbered(shares):
    return dict(enumerate(shares, start=1))


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.data())
def test_any_threshold_of_shares_gives_the_secret_back(secret, data):
    count = data.draw(st.integers(3, 9))
    threshold = data.draw(st.integers(2, count))
    chosen = data.draw(st.sets(st.sampled_from(range(1, count + 1)), min_size=threshold))
    shares = numbered(split(secret, threshold, count))
    assert combine({number: shares[number] for number in chosen}, threshold) == secret


def test_every_choice_of_three_out_of_five():
    secret = os.urandom(32)
    shares = numbered(split(secret, 3, 5))
    for chosen in itertools.combinations(shares, 3):
        assert combine({number: shares[number] for number in chosen}, 3) == secret


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, b"\x01" + bytes(31)])
def test_shares_below_the_threshold_look_the_same_whatever_the_secret(secret):
    """Two of three shares: each byte is uniform, and so is each difference, which would show a linear relation."""
    dealt = [split(secret, 3, 5) for _ in range(600)]
    for look in (lambda s: s[0], lambda s: s[3], lambda s: bytes(a ^ b for a, b in zip(s[0], s[3], strict=True))):
        counts = np.bincount(np.frombuffer(b"".join(look(shares) for shares in dealt), np.uint8), minlength=256)
        assert chisquare(counts).pvalue > 1e-6


def test_every_secret_fits_shares_below_the_threshold():
    """For two of three shares and any secret there is a third share that gives it: the two rule none out.

    The secret is linear in a share: what a change of the third share adds to it runs through all values.
    """
    shares = numbered(split(os.urandom(32), 3, 3))
    found = set()
    for byte in range(256):
        third = bytes([byte]) + shares[3][1:]
        found.add(combine({1: shares[1], 2: shares[2], 3: third}, 3))
    assert len(found) == 256


@pytest.mark.parametrize("bad", [{}, {1: bytes(32)}, {1: bytes(32), 2: bytes(31)}, {0: bytes(32), 1: bytes(32)}])
def test_too_few_and_misshapen_shares_are_refused(bad):
    with pytest.raises(MaskingError, match="share"):
        combine(bad, 2)


def test_a_wrong_share_is_known_by_its_commitment():
    share = os.urandom(32)
    assert commitment(share, b"a") == commitment(share, b"a")
    assert len({commitment(share, b"a"), commitment(share, b"b"), commitment(bytes(32), b"a")}) == 3
