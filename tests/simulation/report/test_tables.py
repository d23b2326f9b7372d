from functools import partial

from simulation.report.cells import Cell
from simulation.report.findings import Place
from simulation.report.tables import WIDEST, Wanted, table


def places(n):
    return [Place(f"s{i}", "trained") for i in range(n)]


def cell(note="", n_anomalous=5):
    return Cell(0.5, 0.4, 0.6, 4, n_anomalous, note)


def test_nothing_makes_no_table():
    assert table("x", places(3), [Wanted("a", "ra", lambda _: None)]) is None


def test_empty_rows_and_columns_are_left_out():
    found = table(
        "x", places(3), [Wanted("a", "ra", lambda p: cell() if p == "s1" else None), Wanted("b", "ra", lambda _: None)]
    )
    ((columns, rows),) = found.blocks
    assert [column.place.name for column in columns] == ["s1"]
    assert [row.label for row in rows] == ["a"]


def test_many_columns_are_split_so_that_they_fit_a_page():
    found = table("x", places(2 * WIDEST + 1), [Wanted("a", "ra", lambda _: cell())])
    assert [len(columns) for columns, _ in found.blocks] == [WIDEST, WIDEST, 1]


def test_a_shared_note_stands_at_the_head_and_any_other_at_its_cell():
    notes = {("a", "s0"): "row; only", ("a", "s1"): "row; column", ("b", "s0"): "", ("b", "s1"): "column"}
    rows = [Wanted(label, "ra", partial(lambda label, p: cell(notes[label, p]), label)) for label in "ab"]
    found = table("x", places(2), rows)
    ((columns, (a, b)),) = found.blocks

    def told(marks):
        return [found.notes[mark - 1] for mark in marks]

    assert [told(column.marks) for column in columns] == [[], ["column"]]
    assert told(a.marks) == ["row"]
    assert [told(entry.marks) for entry in a.entries] == [["only"], []]
    assert not told(b.marks)
    assert [told(entry.marks) for entry in b.entries] == [[], []]
    assert sorted(found.notes) == ["column", "only", "row"]


def test_counts_stand_at_the_head_and_those_that_differ_at_the_cell():
    rows = [
        Wanted("a", "ra", lambda _: cell()),
        Wanted("b", "ra", lambda _: cell()),
        Wanted("c", "ra", lambda _: cell("", 3)),
    ]
    ((columns, made),) = table("x", places(1), rows).blocks
    assert columns[0].counts == "4 healthy, 5 sick"
    assert [row.entries[0].counts for row in made] == ["", "", "4 healthy, 3 sick"]
