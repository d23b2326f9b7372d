import pytest

from ra_core.config import FolderRules
from ra_core.data.readers.source import Facts
from ra_core.data.scan.patients import patient_of

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
