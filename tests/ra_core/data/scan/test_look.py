from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scans import save_noise

from ra_core.config import FolderRules, LimitsConfig, PreprocessingConfig
from ra_core.data.readers import RawImage
from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Facts, Note
from ra_core.data.scan import ScanRules
from ra_core.data.scan import look as module
from ra_core.data.scan.look import look
from ra_core.data.scan.looks import Looks
from ra_core.errors import DataError

STUDY = PreprocessingConfig(size=64)
RULES = ScanRules(LimitsConfig(), "chest", "CR")


def seen(root, path, rules=RULES, study=STUDY):
    return look(root, path, rules, study, Looks(None, root, study, rules.limits))


class FakeSource:
    """A volume whose pictures are given: an array, or an exception to raise."""

    def __init__(self, facts, *pictures):
        self.facts = replace(facts, frames=len(pictures))
        self.pictures = pictures

    def picture(self, index):
        found = self.pictures[index]
        if isinstance(found, Exception):
            raise found
        return RawImage(found.astype(np.float32), None, self.facts.kind, (Note.WINDOW_NOT_APPLIED,))


DICOM = Facts("dicom", 1, (40, 40), modality="DX", body_part="THORAX", patient="P", study="S")
NOISE = np.random.default_rng(0).random((5, 40, 40))
EMPTY = DataError("x", code=Reason.EMPTY_SLICE)


def faked(monkeypatch, tmp_path, source, **options):
    def opened(*_):
        if isinstance(source, BaseException):
            raise source
        return source

    monkeypatch.setattr(module, "open_source", opened)
    return seen(tmp_path, "folder/file", **options)


def test_a_picture_file_is_measured(tmp_path):
    save_noise(tmp_path / "a.png", 0, (64, 64))
    found = seen(tmp_path, "a.png", replace(RULES, folder=FolderRules(patient="file")))
    (picture,) = found.pictures
    assert found.accepted
    assert (found.patient, found.message, found.facts.kind) == ("a.png", "", "raster")
    assert picture.thumbnail.shape == (32, 32)
    assert 0.4 < picture.mean < 0.6
    assert 0.2 < picture.spread < 0.4
    assert picture.foreground > 0.8
    assert picture.sharpness > 0.2
    assert picture.text == 0


def test_the_thumbnail_is_the_preprocessed_picture_made_small(tmp_path):
    pixels = np.tile(np.arange(1, 65, dtype=np.uint8), (64, 1)) * np.uint8(3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    thumbnail = seen(tmp_path, "a.png").pictures[0].thumbnail
    assert (thumbnail == thumbnail[0]).all()
    assert (np.diff(thumbnail[0].astype(int)[1:-1]) > 0).all()
    assert thumbnail[0, 0] < 5
    assert thumbnail[0, -1] > 250


def test_copies_in_another_format_have_one_digest(tmp_path):
    save_noise(tmp_path / "a.png", 0)
    Image.open(tmp_path / "a.png").save(tmp_path / "a.tif")
    Image.open(tmp_path / "a.png").rotate(180).save(tmp_path / "b.png")
    a, copy, b = (seen(tmp_path, name).pictures[0].digest for name in ("a.png", "a.tif", "b.png"))
    assert a == copy != b


def test_every_picture_in_the_studys_share_is_decoded_once(monkeypatch, tmp_path):
    source = FakeSource(DICOM, EMPTY, *NOISE[:3], EMPTY, DataError("not asked for"))
    study = STUDY.model_copy(update={"slices": (0.0, 0.8)})
    found = faked(monkeypatch, tmp_path, source, study=study)
    assert [picture.frame for picture in found.pictures] == [1, 2, 3]
    assert found.skipped == ((Reason.EMPTY_SLICE, 2),)
    assert found.notes == (Note.WINDOW_NOT_APPLIED,)


def test_a_volume_with_one_damaged_slice_is_damaged(monkeypatch, tmp_path):
    found = faked(monkeypatch, tmp_path, FakeSource(DICOM, NOISE[0], DataError("x", code=Reason.TRUNCATED)))
    assert (found.reason, found.pictures) == (Reason.TRUNCATED, ())
    assert found.facts.frames == 2


def test_a_volume_of_empty_slices_is_constant(monkeypatch, tmp_path):
    assert faked(monkeypatch, tmp_path, FakeSource(DICOM, EMPTY, EMPTY)).reason == Reason.CONSTANT_IMAGE


@pytest.mark.parametrize(
    ("header", "rules", "reason"),
    [
        ({}, {}, None),
        ({"modality": "", "body_part": ""}, {}, None),
        ({"body_part": "LEFT LUNG/RIBS"}, {}, None),
        ({"body_part": "SOMETHING"}, {}, None),
        ({"body_part": "HAND"}, {"anatomy": "my own"}, None),
        ({"body_part": "SKULL"}, {"anatomy": "Brain"}, None),
        ({"body_part": "HAND"}, {}, Reason.WRONG_BODY_PART),
        ({"body_part": "HEAD"}, {}, Reason.WRONG_BODY_PART),
        ({"modality": "RG"}, {}, None),
        ({"modality": "OT"}, {}, None),
        ({"modality": "CT"}, {}, Reason.WRONG_MODALITY),
        ({"modality": "CT"}, {"modality": "ct"}, None),
        ({"modality": "CT"}, {"modality": ""}, None),
        ({"modality": "MR"}, {"modality": "CT"}, Reason.WRONG_MODALITY),
        ({"burned_in": True}, {}, Reason.BURNED_IN_ANNOTATION),
        ({"burned_in": True}, {"limits": LimitsConfig(burned_in=True)}, None),
    ],
)
def test_a_header_may_speak_against_the_file(monkeypatch, tmp_path, header, rules, reason):
    source = FakeSource(replace(DICOM, **header), NOISE[0] if reason is None else DataError("decoded"))
    found = faked(monkeypatch, tmp_path, source, rules=replace(RULES, **rules))
    assert found.reason == reason
    assert found.patient == "P"


def test_without_a_patient_id_the_study_is_the_patient_and_it_is_noted(monkeypatch, tmp_path):
    found = faked(monkeypatch, tmp_path, FakeSource(replace(DICOM, patient=""), NOISE[0]))
    assert found.patient == "S"
    assert Note.NO_PATIENT_ID in found.notes


@pytest.mark.parametrize("error", [ValueError("TEST^CASE"), MemoryError(), RecursionError(), OSError(5, "TEST^CASE")])
@pytest.mark.parametrize("late", [False, True])
def test_whatever_is_raised_is_a_reason_that_quotes_nothing(monkeypatch, tmp_path, error, late):
    found = faked(monkeypatch, tmp_path, FakeSource(DICOM, error) if late else error)
    assert found.reason == Reason.DAMAGED
    assert "TEST" not in found.message
    assert type(error).__name__ in found.message


def test_an_error_without_a_code_is_damage(monkeypatch, tmp_path):
    found = faked(monkeypatch, tmp_path, FakeSource(DICOM, DataError(f"{tmp_path / 'folder/file'}: broken")))
    assert (found.reason, found.message) == (Reason.DAMAGED, "broken")


def test_a_message_names_no_file(tmp_path):
    (tmp_path / "secret.dcm").write_bytes(b"")
    found = seen(tmp_path, "secret.dcm")
    assert found.reason == Reason.EMPTY_FILE
    assert "secret" not in found.message
    assert "secret" not in repr(found)
    assert found.message


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=400), st.sampled_from([b"", bytes(128) + b"DICM", b"\x89PNG\r\n\x1a\n", b"\x1f\x8b", b"II*\0"])
)
def test_any_bytes_are_an_entry(tmp_path_factory, content, head):
    root = tmp_path_factory.getbasetemp()
    (root / "any").write_bytes(head + content)
    found = seen(root, "any")
    assert found.reason is not None
    assert found.message
