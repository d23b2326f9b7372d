import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_core.config import FolderRules
from ra_core.data.readers.source import Facts
from ra_core.data.scan.patients import header_patient, patient_of, same_patients

NAMED = Facts("dicom", 1, (64, 64), patient="P7", study="1.2.3")
UNNAMED = Facts("dicom", 1, (64, 64), study="1.2.3")
RASTER = Facts("raster", 1, (64, 64))
EXPRESSION = r"(?P<patient>TEST-P\d+)"


@pytest.mark.parametrize(
    ("rule", "path", "facts", "patient"),
    [
        ("dicom", "a/b.dcm", NAMED, "P7"),
        ("dicom", "a/b.dcm", UNNAMED, "1.2.3"),
        ("dicom", "a/b.png", RASTER, ""),
        ("file", "a/b.dcm", NAMED, "a/b.dcm"),
        ("folder:1", "a/b/c.dcm", NAMED, "a"),
        ("folder:2", "a/b/c.dcm", NAMED, "b"),
        ("folder:3", "a/b/c.dcm", NAMED, "P7"),
        ("folder:3", "a/b/c.png", RASTER, ""),
        (EXPRESSION, "x/TEST-P006_2.png", RASTER, "TEST-P006"),
        (EXPRESSION, "x/TEST-P006_2.dcm", NAMED, "TEST-P006"),
        (EXPRESSION, "x/other.dcm", NAMED, "P7"),
        (EXPRESSION, "x/other.png", RASTER, ""),
        (r"(?P<patient> *a*)/", " a/b", RASTER, "a"),
        (r"x(?P<patient>a)?", "xb", NAMED, "P7"),
    ],
)
def test_the_path_is_asked_before_the_header(rule, path, facts, patient):
    assert FolderRules(patient=rule).patient == rule
    assert patient_of(path, facts, rule) == patient


@pytest.mark.parametrize(
    "nobody", ["ANONYMOUS", "anon", "Anonymized", "De-identified", "0000", "XXXX", "unknown", "N/A"]
)
def test_a_patient_id_that_stands_for_everybody_is_none(nobody):
    facts = Facts("dicom", 1, (9, 9), patient=nobody, study="1.2")
    assert header_patient(facts) == ""
    assert patient_of("a", facts, "dicom") == "1.2"


@pytest.mark.parametrize("somebody", ["7", "P00", "Anna", "TEST-P001"])
def test_any_other_is_somebody(somebody):
    assert header_patient(Facts("dicom", 1, (9, 9), patient=somebody)) == somebody


def test_files_are_of_one_patient_by_way_of_others():
    files = {"a": [("header", "P"), ("site", "1")], "b": [("site", "1"), ("site", "2")], "c": [("site", "2")], "d": []}
    files |= {"e": [("site", "P")]}
    found = same_patients(files)
    assert found == dict.fromkeys("abc", ("header", "P")) | {"e": ("site", "P")}


KEY = st.tuples(st.sampled_from(["header", "site"]), st.sampled_from("abcd"))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text("xyz", min_size=1, max_size=3), st.lists(KEY, max_size=3), max_size=8))
def test_files_that_share_a_key_are_of_one_patient_in_any_order(files):
    found = same_patients(files)
    assert found.keys() == {path for path, keys in files.items() if keys}
    assert same_patients(dict(reversed(files.items()))) == found
    for one in found:
        for other in found:
            if set(files[one]) & set(files[other]):
                assert found[one] == found[other]
