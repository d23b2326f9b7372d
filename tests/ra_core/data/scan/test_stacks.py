import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scans import ct_slice, entry

from ra_core.config import PreprocessingConfig
from ra_core.data.readers.refusal import Reason
from ra_core.data.scan.planes import other_plane
from ra_core.data.scan.stacks import gaps_of, in_stacks, stacks


def reasons(entries, **preprocessing):
    return {one.path: one.reason for one in in_stacks(entries, PreprocessingConfig(**preprocessing))}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-300, 300), min_size=2, max_size=12, unique=True), st.randoms(use_true_random=False))
def test_order_is_that_of_the_positions_whatever_the_names(positions, chance):
    slices = [ct_slice(f"IM{name}", position) for name, position in enumerate(positions)]
    chance.shuffle(slices)
    (series,) = stacks(slices)
    assert [positions[int(path.removeprefix("IM"))] for path in series.paths] == sorted(positions)


def test_a_missing_slice_is_a_gap_and_an_empty_or_unwanted_one_is_none():
    slices = [ct_slice(str(z), 6 * z) for z in range(8) if z != 3]
    slices[4] = ct_slice("5", 30, reason=Reason.EMPTY_SLICE)
    slices[0] = ct_slice("0", 0, reason=Reason.OUT_OF_RANGE)
    (series,) = stacks(slices)
    assert series.paths == ("1", "2", "4", "6", "7")
    assert series.gaps == (1,)


def test_a_slice_that_was_not_read_is_missing():
    slices = [ct_slice(str(z), z, reason=Reason.TRUNCATED if z == 2 else None) for z in range(5)]
    (series,) = stacks(slices)
    assert (series.paths, series.gaps) == (("0", "1", "3", "4"), (1,))


@pytest.mark.parametrize(("shift", "tilted"), [(0.0, False), (0.001, False), (0.36, True), (-0.36, True)])
def test_a_stack_whose_corners_move_sideways_is_tilted(shift, tilted):
    (series,) = stacks([ct_slice(str(z), z, shift=shift * z) for z in range(5)])
    assert series.tilted is tilted


def test_series_orientations_and_sizes_are_told_apart():
    slices = [
        *(ct_slice(f"a{z}", z) for z in range(3)),
        *(ct_slice(f"b{z}", z, series="2") for z in range(3)),
        *(ct_slice(f"c{z}", z, plane="sagittal") for z in range(3)),
        *(ct_slice(f"d{z}", z, shape=(32, 32)) for z in range(3)),
        *(ct_slice(f"e{z}", z, series="") for z in range(3)),
    ]
    random.Random(0).shuffle(slices)
    assert [series.paths for series in stacks(slices)] == [tuple(f"{name}{z}" for z in range(3)) for name in "abcd"]


@pytest.mark.parametrize("other", [{"patient": "q"}, {"study": "1.2"}])
def test_one_series_uid_under_two_patients_or_studies_is_two_stacks(other):
    one = {"patient": "p", "study": "1.1"}
    slices = [ct_slice(f"{name}{z}", z, **of) for z in range(3) for name, of in (("a", one), ("b", one | other))]
    assert [series.paths for series in stacks(slices)] == [("a0", "a1", "a2"), ("b0", "b1", "b2")]
    found = reasons(slices, slices=(0.5, 0.5))
    assert [path for path, reason in found.items() if reason is None] == ["a1", "b1"]


def test_several_slices_at_each_place_are_several_stacks():
    slices = [ct_slice(f"{echo}{z}", z) for z in range(3) for echo in "ba"]
    assert [series.paths for series in stacks(slices)] == [("a0", "a1", "a2"), ("b0", "b1", "b2")]


def test_one_slice_and_pictures_without_a_place_are_no_stack():
    assert stacks([ct_slice("a", 1), entry("b"), entry("c", kind="dicom", series="1")]) == ()


@pytest.mark.parametrize(
    ("slices", "used"), [((0, 1), "01234"), ((0.25, 0.75), "123"), ((0.5, 0.5), "2"), ((0.9, 1), "4")]
)
def test_the_study_uses_a_share_of_a_stack(slices, used):
    found = reasons([ct_slice(str(z), 3 * z) for z in reversed(range(5))], slices=slices)
    assert found == {str(z): None if str(z) in used else Reason.OUT_OF_RANGE for z in range(5)}


def test_the_share_counts_empty_slices_as_a_volume_does():
    slices = [ct_slice(str(z), z, reason=Reason.CONSTANT_IMAGE if z < 2 else None) for z in range(5)]
    found = reasons(slices, slices=(0.0, 0.5))
    assert found == {
        "0": Reason.EMPTY_SLICE,
        "1": Reason.EMPTY_SLICE,
        "2": None,
        "3": Reason.OUT_OF_RANGE,
        "4": Reason.OUT_OF_RANGE,
    }


def test_a_stack_of_nothing_but_constants_is_lost():
    slices = [ct_slice(str(z), z, reason=Reason.CONSTANT_IMAGE) for z in range(3)]
    assert set(reasons(slices).values()) == {Reason.CONSTANT_IMAGE}


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_slices_in_another_plane_are_left_aside(plane):
    slices = [ct_slice(name, 1, plane=name) for name in ("axial", "coronal", "sagittal")]
    oblique = ct_slice("oblique", 1, plane=plane)
    found = reasons([*slices, oblique, entry("film", kind="dicom")], plane=plane)
    assert [path for path, reason in found.items() if reason is None] == [plane, "oblique", "film"]
    assert set(found.values()) == {None, Reason.WRONG_PLANE}


def test_a_nifti_volume_has_every_plane():
    volume = entry("v.nii", kind="nifti", normal=(1.0, 0.0, 0.0))
    assert reasons([volume]) == {"v.nii": None}


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "NM", ""])
def test_the_plane_matters_for_slices(modality):
    facts = ct_slice("a", 1, plane="coronal", modality=modality).facts
    assert other_plane(facts, "axial") == "coronal"
    assert other_plane(facts, "coronal") is None


@pytest.mark.parametrize("modality", ["DX", "CR", "XA", "RF", "MG"])
def test_a_film_that_states_its_orientation_is_in_no_other_plane(modality):
    films = [ct_slice(plane, 1, plane=plane, modality=modality) for plane in ("axial", "coronal", "sagittal")]
    assert set(reasons(films).values()) == {None}
    assert all(other_plane(film.facts, "axial") is None for film in films)


@pytest.mark.parametrize(
    ("positions", "gaps"), [((), ()), ((1,), ()), ((1, 2), ()), ((0, 1, 2, 4, 5), (2,)), ((0, 3, 6, 10), ())]
)
def test_gaps_are_steps_that_miss_a_slice(positions, gaps):
    assert gaps_of(positions) == gaps
