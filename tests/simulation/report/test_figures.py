import math
import re
from html import unescape

import pytest

from simulation.report.cells import Cell
from simulation.report.figures import COLOURS, Curve, Series, curves, dots

CELL = Cell(0.8, 0.7, 0.9, 3, 4)
EVIL = r"_$\frac{$<b>&"


def texts(svg):
    return [unescape(found).strip() for found in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def test_names_are_shown_as_they_are():
    assert EVIL in texts(dots(EVIL, [EVIL], [Series("ours", [CELL])], (0, 1)))
    assert EVIL in texts(curves(EVIL, [Curve(EVIL, [(0, 1), (1, 2)])], {}, "steps"))
    assert "<b>" not in dots(EVIL, [EVIL], [Series("ours", [CELL])], (0, 1))


def test_a_number_that_cannot_be_had_is_said_and_one_not_measured_is_not():
    there = Cell(None, None, None, 0, 4, "no healthy images")
    assert texts(dots("x", ["a", "b"], [Series("ours", [there, None])], (0, 1))).count("not estimable") == 1


def test_colours_are_those_of_the_page():
    svg = dots("x", ["a"], [Series("ours", [CELL]), Series("second", [CELL], 0.2)], (0, 1), reference=0.5)
    assert "var(--accent)" in svg
    assert "var(--second)" in svg
    assert not [colour for colour in COLOURS if colour in svg]
    assert not re.search(r"(fill|stroke): #", svg)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_left_out(bad):
    svg = curves("x", [Curve("a", [(0, 1), (1, bad), (2, 3)])], {"kept": 1}, "steps")
    assert "kept" in texts(svg)
    assert svg == curves("x", [Curve("a", [(0, 1), (2, 3)])], {"kept": 1}, "steps")


def test_a_scale_with_zero_is_not_logarithmic():
    assert "0" in texts(curves("x", [Curve("a", [(5, 0), (9, 3)])], {}, "steps"))
    assert "0" not in texts(curves("x", [Curve("a", [(5, 0.1), (9, 3)])], {}, "steps"))


def test_figures_share_no_ids():
    ids = [
        set(re.findall(r'id="([^"]+)"', dots(title, ["a"], [Series("ours", [CELL])], (0, 1)))) for title in ("x", "y")
    ]
    assert ids[0]
    assert not ids[0] & ids[1]
