import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_core.thresholds import EDGES, EDGES_NAME, Histogram, edge_above, merged
from ra_core.thresholds.histogram import CELLS, MOST

scores = st.lists(st.one_of(st.floats(0, 2e6), st.sampled_from(EDGES.tolist())), min_size=1, max_size=60)


def test_the_edges_are_published_for_ever():
    """Who changes them needs another name: cards and sites hold this one."""
    digest = hashlib.sha256(EDGES.astype("<f8").tobytes()).hexdigest()
    assert (EDGES_NAME, len(EDGES), digest[:16]) == ("log100-1", 1202, "0274dd4b05d751d1")
    assert not EDGES.flags.writeable


def test_a_cell_is_two_and_a_third_percent_wide():
    ratios = EDGES[2:] / EDGES[1:-1]
    assert ratios.min() > 1.0232
    assert ratios.max() < 1.0234


@given(scores)
def test_each_score_lies_in_its_cell_and_none_is_lost(values):
    found = Histogram.of(values)
    assert found.n == len(values)
    for first, last, count in found.cells:
        assert first == last
        start, end = np.append(-np.inf, EDGES)[first], np.append(EDGES, np.inf)[last]
        assert sum(start < value <= end for value in values) == count


@given(scores)
def test_the_highest_are_never_below_a_score_and_at_most_one_cell_above(values):
    told = Histogram.of(values).highest()
    for value, high in zip(sorted(values), told, strict=True):
        assert high >= value
        place = int(np.searchsorted(EDGES, value))
        assert high == edge_above(value)
        assert place == 0 or EDGES[place - 1] < value


@given(scores, st.integers(1, 12))
def test_every_cell_holds_the_least_count_or_more(values, least):
    if len(values) < least:
        with pytest.raises(ValueError, match="fewer than a cell may have"):
            Histogram.of(values, least)
        return
    found = Histogram.of(values, least)
    assert found.n == len(values)
    assert min(count for *_, count in found.cells) >= least
    assert all(before[1] < after[0] for before, after in zip(found.cells, found.cells[1:], strict=False))
    assert (found.highest() >= np.sort(values)).all()


def test_joined_cells_are_as_fine_as_the_count_allows_at_the_top():
    values = [0.1, 0.2, 0.3, 0.4, 0.5]
    top = [int(np.searchsorted(EDGES, value)) for value in values]
    assert Histogram.of(values, 2).cells == ((top[0], top[2], 3), (top[3], top[4], 2))


@given(scores, st.randoms(use_true_random=False))
def test_order_doesnt_matter(values, random):
    shuffled = random.sample(values, len(values))
    assert Histogram.of(shuffled, min(3, len(values))) == Histogram.of(values, min(3, len(values)))


@given(st.lists(scores, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_merged_are_all_scores_together_in_any_order_of_sites(sites, random):
    parts = [Histogram.of(values) for values in sites]
    assert merged(parts) == Histogram.of([value for values in sites for value in values])
    joined = [Histogram.of(values, min(2, len(values))) for values in sites]
    assert merged(random.sample(joined, len(joined))) == merged(joined)
    assert merged([merged(joined[:1]), merged(joined[1:])]) == merged(joined)


@given(scores, st.integers(0, len(EDGES) - 1))
def test_above_an_edge_is_exact(values, place):
    edge = float(EDGES[place])
    above = sum(value > edge for value in values)
    assert Histogram.of(values).above(edge) == (above, above)


@given(scores, st.floats(0, 1e6), st.integers(1, 5))
def test_above_anything_else_lies_between_the_fewest_and_the_most(values, value, least):
    fewest, most = Histogram.of(values, min(least, len(values))).above(value)
    assert fewest <= sum(score > value for score in values) <= most


def test_edges_above():
    assert [edge_above(value) for value in (0.0, 1e-9, 1.0, 1.0000001, 1e6)] == [0.0, 1e-6, 1.0, EDGES[602], 1e6]
    assert edge_above(1.1e6) == float("inf")


def test_no_scores_are_an_empty_histogram():
    empty = Histogram.of([], 5)
    assert (empty.cells, empty.n, empty.highest().shape, empty.above(1.0)) == ((), 0, (0,), (0, 0))
    assert merged([]) == empty


@pytest.mark.parametrize("bad", [[-1e-9], [np.nan], [np.inf], [[1.0]]])
def test_what_is_no_score_is_refused(bad):
    with pytest.raises(ValueError, match="finite scores"):
        Histogram.of(bad)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (((-1, 3, 1),), "out of range"),
        (((3, CELLS, 1),), "out of range"),
        (((4, 3, 1),), "out of range"),
        (((3, 3, 0),), "empty"),
        (((3, 3, -2),), "empty"),
        (((5, 5, 1), (3, 3, 1)), "out of order"),
        (((5, 5, MOST), (6, 6, 1)), "more than"),
    ],
)
def test_cells_that_cant_be_are_refused(cells, told):
    with pytest.raises(ValueError, match=told):
        Histogram(cells)
