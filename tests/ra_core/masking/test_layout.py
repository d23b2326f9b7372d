import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_core.errors import MaskingError
from ra_core.masking.layout import Field, Layout

WIDE = 2**90
LAYOUT = Layout((Field("a", (2, 3), -5, 5), Field("count", (), 1, 10), Field("wide", (), -WIDE, WIDE, wide=True)))

sites = st.lists(
    st.tuples(st.lists(st.integers(-5, 5), min_size=6, max_size=6), st.integers(1, 10), st.integers(-WIDE, WIDE)),
    min_size=1,
    max_size=6,
)


def values(a=(0,) * 6, count=1, wide=0):
    return {
        "a": np.array(a, np.int64).reshape(2, 3),
        "count": np.array(count, np.int64),
        "wide": np.array(wide, object),
    }


def added(layout, vectors):
    total = np.zeros(layout.size, np.uint64)
    for vector in vectors:
        with layout.carrying(total, 1):
            total += vector
    return total


@given(sites)
def test_words_added_unpack_to_the_sum(given_):
    total = added(LAYOUT, [LAYOUT.pack(values(*one)) for one in given_])
    found = LAYOUT.unpack(total, len(given_))
    assert found["a"].reshape(-1).tolist() == np.sum([one[0] for one in given_], axis=0).tolist()
    assert int(found["count"]) == sum(one[1] for one in given_)
    assert found["wide"].item() == sum(one[2] for one in given_)


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_a_wide_field_is_one_number(one, other):
    """Added and taken away modulo 2^128, whatever stands beside it."""
    layout = Layout((Field("a", (), 0, 1), Field("w", (), 0, 1, wide=True), Field("v", (), 0, 1, wide=True)))
    as_words = lambda n: np.array([7, n % 2**64, n >> 64, n % 2**64, n >> 64], np.uint64)  # noqa: E731
    words = as_words(one)
    for sign, change, known in ((1, np.add, one + other), (-1, np.subtract, one)):
        with layout.carrying(words, sign):
            change(words, as_words(other), out=words)
        assert words[1:].tolist() == as_words(known % 2**128)[1:].tolist()


def test_fields_follow_each_other_row_by_row():
    words = LAYOUT.pack(values((1, 2, 3, -1, 4, 5), 7, -1))
    assert words.dtype == np.uint64
    assert words.tolist() == [1, 2, 3, 2**64 - 1, 4, 5, 7, *[2**64 - 1] * 2]


@pytest.mark.parametrize(
    "bad",
    [
        values(a=(6, 0, 0, 0, 0, 0)),
        values(count=0),
        values(count=11),
        values(wide=WIDE + 1),
        values() | {"a": np.zeros(6, np.int64)},
        values() | {"a": np.zeros((2, 3), np.int32)},
        values() | {"wide": np.array(3, np.int64)},
        values() | {"more": np.array(1, np.int64)},
        {"a": values()["a"]},
    ],
)
def test_what_breaks_its_bounds_is_not_masked(bad):
    with pytest.raises(MaskingError):
        LAYOUT.pack(bad)


def test_a_sum_beyond_what_the_sites_may_give_is_refused():
    total = LAYOUT.pack(values(a=(5,) * 6, count=10))
    assert LAYOUT.unpack(total, 1)["count"] == 10
    for place, word in ((0, 11), (6, 1), (6, 21), (8, 2**30), (8, 2**64 - 2**30)):
        bad = total * np.uint64(2)
        assert LAYOUT.unpack(bad, 2)["count"] == 20
        bad[place] = word
        with pytest.raises(MaskingError, match="out of its range"):
            LAYOUT.unpack(bad, 2)


@pytest.mark.parametrize(
    ("field", "most_sites"),
    [
        (Field("x", (), -(2**62), 2**62), 1),
        (Field("x", (), 0, 2**60 - 1), 8),
        (Field("x", (), -(2**125), 0, wide=True), 3),
        (Field("x", (), 0, 2**124 - 1, wide=True), 8),
    ],
)
def test_room_is_proved_to_the_last_bit(field, most_sites):
    Layout((field,)).require_room(most_sites)
    with pytest.raises(MaskingError, match="may not fit"):
        Layout((field,)).require_room(most_sites + 1)


@pytest.mark.parametrize("fields", [(Field("x", (), 1, 0),), (Field("x", (2,), 0, 1, wide=True),)])
def test_a_field_that_can_hold_nothing_is_refused(fields):
    with pytest.raises(MaskingError, match="may not fit"):
        Layout(fields).require_room(3)


def test_a_name_stands_once():
    with pytest.raises(MaskingError, match="twice"):
        Layout((Field("x", (), 0, 1), Field("x", (), 0, 1))).require_room(3)
