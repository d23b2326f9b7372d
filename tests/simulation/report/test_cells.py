from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.report.cells import Cell, Verdict, compare, number

SHARES = st.floats(0, 1)


def cell(low, value, high):
    return Cell(value, low, high, 10, 12)


def cells():
    return st.lists(SHARES, min_size=3, max_size=3).map(sorted).map(lambda found: cell(*found))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.836, "0.836"),
        (0.88, "0.880"),
        (0, "0.000"),
        (1, "1.000"),
        (0.0214, "0.021"),
        (0.00201, "0.0020"),
        (3e-7, "3.0e-07"),
    ],
)
def test_at_least_two_digits_of_a_number_count(value, text):
    assert number(value) == text


def test_an_interval_has_as_many_decimals_as_its_number():
    assert cell(0.795, 0.836, 0.88).text == "0.836 (0.795–0.880)"
    assert cell(0.00011, 0.00201, 0.1).text == "0.0020 (0.0001–0.1000)"
    assert replace(cell(0, 0.5, 1), low=None).text == "0.500"
    assert Cell(None, None, None, 0, 3, "no images").text == "not estimable"


@given(cells(), cells())
def test_a_verdict_is_the_reverse_of_the_other_sides(a, b):
    reverse = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    found = compare(a, b)
    assert compare(b, a) is reverse.get(found, found)
    assert (found is Verdict.ALIKE) == (a.low <= b.high and b.low <= a.high)


def test_without_an_interval_nothing_is_better():
    good, bad = cell(0.8, 0.9, 1), cell(0, 0.1, 0.2)
    assert compare(good, bad) is Verdict.BETTER
    assert compare(good, None) is compare(None, bad) is Verdict.UNKNOWN
    assert compare(good, replace(bad, low=None)) is Verdict.UNKNOWN
    assert compare(replace(good, value=None), bad) is Verdict.UNKNOWN


@given(cells())
def test_read_either_way_an_auroc_is_at_least_a_half_and_within_its_interval(found):
    read = found.either_way()
    assert read.value >= 0.5
    assert read.low <= read.value <= read.high
    assert read.either_way() == read
    assert (read.extra == "reversed") == (found.value < 0.5)
