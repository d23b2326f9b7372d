import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_core.thresholds import patient_scores

pictures = st.lists(st.tuples(st.sampled_from("abcde"), st.floats(0, 10)), min_size=1, max_size=40)


def columns(found):
    patients, scores = zip(*found, strict=True)
    return list(scores), list(patients), [f"{place}.png" for place in range(len(found))]


@given(pictures)
def test_a_study_has_the_highest_score_of_its_pictures(found):
    scores, patients, names = columns(found)
    expected = [max(s for s, p in zip(scores, patients, strict=True) if p == who) for who in sorted(set(patients))]
    assert patient_scores(scores, patients, names, "study").tolist() == expected


@given(pictures, st.randoms(use_true_random=False), st.sampled_from(["slice", "study"]))
def test_order_of_pictures_doesnt_matter(found, random, unit):
    rows = list(zip(*columns(found), strict=True))
    shuffled = random.sample(rows, len(rows))
    assert patient_scores(*zip(*rows, strict=True), unit).tolist() == (
        patient_scores(*zip(*shuffled, strict=True), unit).tolist()
    )


@given(pictures)
def test_a_patients_slice_is_drawn_by_name_alone(found):
    scores, patients, names = columns(found)
    drawn = patient_scores(range(len(scores)), patients, names, "slice").astype(int)
    assert [patients[place] for place in drawn] == sorted(set(patients))
    assert patient_scores(scores, patients, names, "slice").tolist() == [scores[place] for place in drawn]


def test_any_slice_may_be_drawn():
    names = [f"{place}.png" for place in range(300)]
    drawn = patient_scores(range(300), [str(place // 3) for place in range(300)], names, "slice")
    assert np.bincount(drawn.astype(int) % 3).min() > 15


def test_no_pictures_have_no_scores():
    assert patient_scores([], [], [], "slice").shape == (0,)


@pytest.mark.parametrize(
    ("scores", "patients", "names", "told"),
    [
        ([1.0], ["a", "b"], ["x", "y"], "2 patients"),
        ([1.0, 2.0], ["a", "b"], ["x"], "1 names"),
        ([[1.0]], ["a"], ["x"], r"\(1, 1\)"),
        ([np.nan], ["a"], ["x"], "finite"),
        ([np.inf], ["a"], ["x"], "finite"),
    ],
)
def test_what_doesnt_fit_is_refused(scores, patients, names, told):
    with pytest.raises(ValueError, match=told):
        patient_scores(scores, patients, names, "study")
