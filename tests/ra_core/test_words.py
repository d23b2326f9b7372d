import pytest

from ra_core.words import asked, duration, listed, ranges, rounded_up


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (754.2, "12 min 34 s"), (7500, "2 h 05 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_lists():
    assert [listed(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_what_was_asked_is_not_rounded():
    assert [asked(rate) for rate in (0.05, 0.125, 0.07, 0.001)] == ["5 %", "12.5 %", "7 %", "0.1 %"]


def test_bounds_are_never_told_smaller_than_they_are():
    assert [rounded_up(bound, 3) for bound in (0.0, 1e-9, 0.004, 0.0041, 1.0)] == [
        "0.000",
        "0.001",
        "0.004",
        "0.005",
        "1.000",
    ]


def test_ranges():
    assert [ranges(numbers) for numbers in ([], [4], [3, 1, 2, 7, 2])] == ["", "4", "1–3, 7"]
