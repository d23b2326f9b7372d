import pytest
from pydantic import ValidationError

from simulation.cohort import CohortConfig, HospitalConfig


def test_default_is_four_hospitals_with_four_contrasts():
    hospitals = CohortConfig().hospitals
    assert {hospital.contrast for hospital in hospitals} == {"t1", "t2", "flair", "ct"}
    assert len({hospital.name for hospital in hospitals}) == 4


def test_two_hospitals_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="two hospitals are called 'a'"):
        CohortConfig(hospitals=(HospitalConfig(name="a", contrast="t1"), HospitalConfig(name="a", contrast="ct")))


@pytest.mark.parametrize("name", ["", "../up", "a/b", "A", ".hidden"])
def test_a_name_is_a_plain_folder_name(name):
    with pytest.raises(ValidationError):
        HospitalConfig(name=name, contrast="t1")
