import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicoms import CT, FILM, MONO1, item, write_dicom, write_enhanced
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    ParametricMapStorage,
    RawDataStorage,
    RLELossless,
    RTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from ra_core.config import WindowName
from ra_core.data.readers import Note, RawImage, Reading, Reason, Turn, open_source, read_pixels, stored, upright
from ra_core.errors import DataError

RISING = np.linspace(-1100, 2000, 96).astype(np.int16).reshape(12, 8)  # HU
STORED = (RISING + 1024).astype(np.int16)


def refused(path: Path, code: Reason, reason: str = "", **reading: object) -> DataError:
    with pytest.raises(DataError) as caught:
        read_pixels(path, Reading(**reading))  # type: ignore[arg-type]
    assert caught.value.code == code, caught.value
    assert caught.value.message.startswith(f"{path}: ")
    assert reason in caught.value.message
    assert caught.value.hint
    assert "Secret" not in caught.value.message
    return caught.value


def read(path: Path, window: WindowName = "file") -> RawImage:
    return read_pixels(path, Reading(window=window))


# Facts


def test_facts_are_the_headers(tmp_path: Path) -> None:
    plane = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [1, 2, -30.5]}
    path = write_dicom(
        tmp_path / "a", BodyPartExamined="Hand", SeriesInstanceUID="1.2.5", BitsStored=12, HighBit=11, **plane
    )
    facts = open_source(path).facts
    assert (facts.kind, facts.frames, facts.shape, facts.bits) == ("dicom", 1, (12, 8), 12)
    assert (facts.modality, facts.body_part, facts.patient) == ("DX", "HAND", "SecretId")
    assert (facts.instance, facts.series, facts.study) == ("1.2.3", "1.2.5", "")
    assert (facts.positions, facts.normal, facts.origins) == ((-30.5,), (0, 0, 1), ((1, 2, -30.5),))
    assert facts.notes == ()
    assert not facts.burned_in
    assert "Secret" not in repr(facts)


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [9, 9]}, (0.2, 0.3)),
        ({"ImagerPixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
        ({"NominalScannedPixelSpacing": [0.1, 0.2]}, (0.1, 0.2)),
        ({"PixelSpacing": [0, 0.3]}, None),
        ({"PixelSpacing": [0.3]}, None),
        ({"PixelAspectRatio": [1, 1]}, None),
        ({}, None),
    ],
)
def test_spacing(tmp_path: Path, tags: dict[str, object], spacing: tuple[float, float] | None) -> None:
    source = open_source(write_dicom(tmp_path / "a", **tags))
    assert source.facts.spacing == source.picture(0).spacing == spacing


def test_pixels_that_are_not_square_need_a_spacing(tmp_path: Path) -> None:
    refused(write_dicom(tmp_path / "a", PixelAspectRatio=[1, 2]), Reason.UNSUPPORTED_CONTENT, "not square")


@pytest.mark.parametrize(
    ("tags", "note"),
    [
        ({"PatientID": ""}, Note.NO_PATIENT_ID),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, Note.SECONDARY_CAPTURE),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, Note.SECONDARY_CAPTURE),
        ({"RescaleSlope": 2}, Note.RESCALE_INCOMPLETE),
        ({"RescaleIntercept": 2}, Note.RESCALE_INCOMPLETE),
        ({"PresentationLUTShape": "INVERSE"}, Note.CONTRADICTING_POLARITY),
        ({**CT, "RescaleSlope": None, "RescaleIntercept": None}, Note.NOT_IN_HOUNSFIELD),
        ({**CT, "RescaleSlope": 0}, Note.NOT_IN_HOUNSFIELD),
        ({**CT, "RescaleType": "US"}, Note.NOT_IN_HOUNSFIELD),
        ({"PixelData": FILM.tobytes() + bytes(128)}, Note.EXTRA_BYTES),
    ],
)
def test_notes(tmp_path: Path, tags: dict[str, object], note: Note) -> None:
    assert open_source(write_dicom(tmp_path / "a", **tags)).facts.notes == (note,)


def test_an_incomplete_rescale_is_not_in_hounsfield(tmp_path: Path) -> None:
    notes = (Note.NOT_IN_HOUNSFIELD, Note.RESCALE_INCOMPLETE)
    assert open_source(write_dicom(tmp_path / "a", **{**CT, "RescaleSlope": None})).facts.notes == notes
    assert open_source(write_dicom(tmp_path / "b", **{**CT, "RescaleIntercept": None})).facts.notes == notes


def test_a_capture_that_says_it_has_no_text_and_a_reformatted_slice_are_not_noted(tmp_path: Path) -> None:
    plain = {"SOPClassUID": SecondaryCaptureImageStorage, "BurnedInAnnotation": "NO"}
    assert open_source(write_dicom(tmp_path / "a", **plain)).facts.notes == ()
    slice_ = {"ImageType": ["DERIVED", "SECONDARY"], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    assert open_source(write_dicom(tmp_path / "b", **slice_)).facts.notes == ()
    assert open_source(write_dicom(tmp_path / "c", BurnedInAnnotation="YES")).facts.burned_in


# What is an image


@pytest.mark.parametrize("sop_class", [SegmentationStorage, ParametricMapStorage, RawDataStorage, RTImageStorage])
def test_objects_with_pixels_that_are_no_images(tmp_path: Path, sop_class: str) -> None:
    error = refused(write_dicom(tmp_path / "a", SOPClassUID=sop_class), Reason.NOT_AN_IMAGE)
    assert Reason(error.code).expected


def test_a_vendors_own_class_is_judged_by_its_modality(tmp_path: Path) -> None:
    own = {"SOPClassUID": "1.3.12.2.1107.5.9.1"}
    np.testing.assert_array_equal(read(write_dicom(tmp_path / "a", **own)).pixels, FILM)
    refused(write_dicom(tmp_path / "b", **own, Modality="SEG"), Reason.NOT_AN_IMAGE)


def test_localizers_and_mosaics(tmp_path: Path) -> None:
    refused(write_dicom(tmp_path / "a", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), Reason.LOCALIZER)
    refused(write_dicom(tmp_path / "b", ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), Reason.UNSUPPORTED_CONTENT)


# Values


@pytest.mark.parametrize("intercept", [-1024, 32767])
def test_rescale_of_signed_values_does_not_wrap(tmp_path: Path, intercept: int) -> None:
    signed = np.array([[-32768, 32767], [0, 1]], dtype=np.int16)
    raw = read(write_dicom(tmp_path / "a", signed, RescaleSlope=-2, RescaleIntercept=intercept))
    np.testing.assert_array_equal(raw.pixels, signed * -2.0 + intercept)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [({"RescaleSlope": -2}, FILM * -2.0), ({"RescaleIntercept": -100}, FILM - 100.0), ({"RescaleSlope": 0}, FILM)],
)
def test_half_a_rescale_is_applied(tmp_path: Path, tags: dict[str, int], expected: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(read(write_dicom(tmp_path / "a", **tags)).pixels, expected)


def test_signs_are_extended_from_the_bits_that_count(tmp_path: Path) -> None:
    signed = np.array([[-2048, 2047], [-1, 0]], dtype=np.int16)
    high_bits = signed & 0x0FFF | 0x3000
    np.testing.assert_array_equal(
        read(write_dicom(tmp_path / "a", high_bits, BitsStored=12, HighBit=11)).pixels, signed
    )


@pytest.mark.parametrize("slope", [1, -1])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 0, "WindowWidth": 4000}])
def test_monochrome1_is_inverted_exactly_once(tmp_path: Path, slope: int, window: dict[str, int]) -> None:
    pixels = read(write_dicom(tmp_path / "a", RescaleSlope=slope, RescaleIntercept=0, **MONO1, **window)).pixels
    assert np.corrcoef(pixels.ravel(), FILM.ravel())[0, 1] == pytest.approx(-slope)


def test_monochrome2_is_as_it_says_whatever_the_presentation(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(write_dicom(tmp_path / "a", PresentationLUTShape="INVERSE")).pixels, FILM)


def lut(entries: NDArray[np.uint16], first: int = 0, **tags: object) -> pydicom.Dataset:
    return item(LUTDescriptor=[len(entries), first, 16], LUTData=entries.tobytes(), **tags)


def test_a_modality_table(tmp_path: Path) -> None:
    entries = np.arange(0, 2000, 2, dtype=np.uint16)[::-1].copy()
    raw = read(write_dicom(tmp_path / "a", ModalityLUTSequence=[lut(entries, ModalityLUTType="US")]))
    np.testing.assert_array_equal(raw.pixels, entries[FILM])


@pytest.mark.parametrize("tags", [{}, MONO1])
def test_a_table_in_place_of_a_window(tmp_path: Path, tags: dict[str, str]) -> None:
    entries = (np.arange(500, dtype=np.uint16) ** 2 // 10).astype(np.uint16)
    pixels = read(write_dicom(tmp_path / "a", VOILUTSequence=[lut(entries, first=100)], **tags)).pixels
    expected = entries[np.clip(FILM.astype(int) - 100, 0, 499)].astype(np.float32)
    np.testing.assert_array_equal(pixels, expected.max() + expected.min() - expected if tags else expected)


@pytest.mark.parametrize(
    ("tags", "low"),
    [
        (CT, -1024),  # stored unsigned, and negative in HU
        ({**CT, "RescaleIntercept": 65000}, 64512),
        ({}, 64512),
    ],
)
def test_the_first_value_of_a_table_is_signed_where_measured_values_may_be(
    tmp_path: Path, tags: dict[str, object], low: int
) -> None:
    entries = np.arange(500, dtype=np.uint16) * 3
    table = lut(entries, first=64512)  # -1024, if it is signed
    film = FILM if tags else (FILM + 64500).astype(np.uint16)
    values = film + float(tags.get("RescaleIntercept", 0))  # type: ignore[arg-type]
    pixels = read(write_dicom(tmp_path / "a", film, VOILUTSequence=[table], **{**tags, "Modality": "MR"})).pixels
    np.testing.assert_array_equal(pixels, entries[np.clip(values - low, 0, 499).astype(int)])


def test_a_table_without_data_is_none(tmp_path: Path) -> None:
    raw = read(write_dicom(tmp_path / "a", VOILUTSequence=[item()], ModalityLUTSequence=[item()]))
    np.testing.assert_array_equal(raw.pixels, FILM)


# Windows


@pytest.mark.parametrize(
    ("tags", "low", "high"),
    [
        ({"WindowCenter": 400.5, "WindowWidth": 201}, 300, 500),
        ({"WindowCenter": [400.5, 9], "WindowWidth": [201, 9]}, 300, 500),
        ({"WindowCenter": [400.5, 9], "WindowWidth": 201}, 300, 500),
        ({"WindowCenter": 400, "WindowWidth": 200, "VOILUTFunction": "LINEAR_EXACT"}, 300, 500),
        ({"WindowCenter": 400, "WindowWidth": 0.5, "VOILUTFunction": "LINEAR_EXACT"}, 399.75, 400.25),
        ({"WindowCenter": 400.5, "WindowWidth": 201, "VOILUTSequence": [item()]}, 300, 500),
        ({"WindowCenter": None, "WindowWidth": None}, 0, 950),
        ({"WindowWidth": 200}, 0, 950),
    ],
)
def test_the_first_window_clips(tmp_path: Path, tags: dict[str, object], low: float, high: float) -> None:
    raw = read(write_dicom(tmp_path / "a", **tags))
    np.testing.assert_array_equal(raw.pixels, np.clip(FILM, low, high))
    assert raw.notes == ()
    np.testing.assert_array_equal(read(tmp_path / "a", "none").pixels, FILM)


def test_a_sigmoid_window_bends(tmp_path: Path) -> None:
    tags = {"WindowCenter": 400, "WindowWidth": 200, "VOILUTFunction": "SIGMOID"}
    expected = 300 + 200 / (1 + np.exp(-4 * (FILM.astype(float) - 400) / 200))
    np.testing.assert_allclose(read(write_dicom(tmp_path / "a", **tags)).pixels, expected, rtol=1e-5)


@pytest.mark.parametrize("tags", [{}, {"VOILUTFunction": "SIGMOID"}, {"VOILUTFunction": "LINEAR_EXACT"}])
@pytest.mark.parametrize("width", [0, -5, 0.5])
def test_a_window_that_is_none_is_not_applied(tmp_path: Path, width: float, tags: dict[str, str]) -> None:
    raw = read(write_dicom(tmp_path / "a", WindowCenter=40_000, WindowWidth=width, **tags))
    np.testing.assert_array_equal(raw.pixels, FILM)
    assert raw.notes == (Note.WINDOW_NOT_APPLIED,)


def test_an_unknown_function_is_no_window(tmp_path: Path) -> None:
    raw = read(write_dicom(tmp_path / "a", WindowCenter=400, WindowWidth=100, VOILUTFunction="CUBIC"))
    assert raw.notes == (Note.WINDOW_NOT_APPLIED,)


@pytest.mark.parametrize(("window", "low", "high"), [("brain", 0, 80), ("lung", -1350, 150), ("bone", -770, 1730)])
def test_named_windows_are_in_hounsfield(tmp_path: Path, window: WindowName, low: float, high: float) -> None:
    path = write_dicom(tmp_path / "a", STORED, WindowCenter=1, WindowWidth=2, **CT)
    np.testing.assert_array_equal(
        read(path, window).pixels, np.clip(np.where(RISING < -1024, RISING[0, 3], RISING), low, high)
    )


@pytest.mark.parametrize(
    "tags", [{}, {**CT, "RescaleType": "US"}, {**CT, "RescaleSlope": None}, {**CT, "Modality": "MR"}]
)
def test_named_windows_need_hounsfield(tmp_path: Path, tags: dict[str, object]) -> None:
    error = refused(write_dicom(tmp_path / "a", STORED, **tags), Reason.NOT_IN_HOUNSFIELD, window="brain")
    assert "preprocessing.window" in error.hint


def test_a_rescale_type_may_say_hounsfield(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a", STORED, **{**CT, "Modality": "PT", "RescaleType": "HU"})
    assert read(path, "brain").pixels.max() == 80


# Padding and signs


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 200, "WindowWidth": 300}])
def test_padding_is_dark_and_takes_no_part(tmp_path: Path, photometric: str, window: dict[str, int]) -> None:
    signed = FILM.astype(np.int16)
    signed[:3] = -2000
    tags = {"PixelPaddingValue": -2000, "PhotometricInterpretation": photometric, **window}
    pixels = read(write_dicom(tmp_path / "a", signed, **tags)).pixels
    whole = read(write_dicom(tmp_path / "b", signed[3:], PhotometricInterpretation=photometric, **window)).pixels
    np.testing.assert_array_equal(pixels[3:], whole)
    assert (pixels[:3] == whole.min()).all()


def test_a_range_of_padding_and_one_with_the_other_sign(tmp_path: Path) -> None:
    film = FILM.astype(np.int16) - 500
    tags = {"PixelPaddingValue": -500, "PixelPaddingRangeLimit": -400}
    assert read(write_dicom(tmp_path / "a", film, **tags)).pixels.min() == -390
    path = write_dicom(tmp_path / "b", film)
    raw = path.read_bytes()  # -500 as an unsigned value, as some write it
    element = b"\x28\x00\x20\x01US\x02\x00" + (65036).to_bytes(2, "little")
    at = raw.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(raw[:at] + element + raw[at:])
    assert read(path).pixels.min() == -490


def test_nothing_but_padding_is_constant(tmp_path: Path) -> None:
    film = np.full((4, 4), 7, dtype=np.uint16)
    refused(write_dicom(tmp_path / "a", film, PixelPaddingValue=7), Reason.CONSTANT_IMAGE)
    refused(write_dicom(tmp_path / "b", film), Reason.CONSTANT_IMAGE)


def test_below_the_scale_of_ct_is_padding(tmp_path: Path) -> None:
    blurred = STORED.copy()
    blurred[0] = [-2971, -2000, -1990, -1500, -1200, -100, -3, -1]  # a lossy codec's padding
    pixels = read(write_dicom(tmp_path / "a", blurred, **CT)).pixels
    assert pixels.min() >= -1024
    assert (pixels[0] == pixels.min()).all()
    assert pixels.max() == 2000


def test_signed_values_under_the_wrong_representation_are_put_right(tmp_path: Path) -> None:
    hu = np.maximum(RISING, -1000)
    plain = {**CT, "RescaleIntercept": 0, "PixelRepresentation": 0, "PixelPaddingValue": 63_536}
    hu[0, 0] = -2000
    raw = read(write_dicom(tmp_path / "a", hu, **plain))
    assert raw.notes == (Note.SIGN_PUT_RIGHT,)
    np.testing.assert_array_equal(raw.pixels, np.where(hu == -2000, -1000, hu))


def test_hounsfield_that_cannot_be_is_refused(tmp_path: Path) -> None:
    refused(write_dicom(tmp_path / "a", STORED, **{**CT, "RescaleSlope": 1000}), Reason.IMPLAUSIBLE_VALUES)


# Layout


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"NumberOfFrames": 2}, Reason.TRUNCATED),
        ({"Rows": 24}, Reason.TRUNCATED),
        ({"Rows": 65535, "Columns": 65535}, Reason.TRUNCATED),
        ({"NumberOfFrames": 2**31 - 1}, Reason.TOO_LARGE),
        ({"Rows": 0}, Reason.DAMAGED),
        ({"Rows": None}, Reason.DAMAGED),
        ({"BitsStored": None}, Reason.DAMAGED),
        ({"PhotometricInterpretation": ""}, Reason.DAMAGED),
        ({"NumberOfFrames": -1}, Reason.DAMAGED),
        ({"PixelRepresentation": None}, Reason.DAMAGED),
        ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, Reason.UNSUPPORTED_CONTENT),
        ({"BitsStored": 12, "HighBit": 15}, Reason.UNSUPPORTED_CONTENT),
        ({"BitsStored": 17}, Reason.UNSUPPORTED_CONTENT),
        ({"SamplesPerPixel": 3}, Reason.DAMAGED),
        ({"PhotometricInterpretation": "HSV", "SamplesPerPixel": 3, "PlanarConfiguration": 0}, Reason.COLOUR_IMAGE),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, tags: dict[str, object], code: Reason) -> None:
    refused(write_dicom(tmp_path / "a", **tags), code)


def test_sizes_are_checked_from_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Decoder, "as_array")
    refused(write_dicom(tmp_path / "a"), Reason.TOO_LARGE, max_pixels=95)
    volume = np.stack([FILM] * 3)
    refused(write_enhanced(tmp_path / "b", volume), Reason.TOO_LARGE, "288 voxels", max_voxels=287)


def test_frames_without_groups_are_not_walked_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dots = np.arange(1 << 16, dtype=np.uint8).reshape(1 << 16, 1, 1)
    asked = []
    monkeypatch.setattr("ra_core.data.readers.dicom.geometry.macro", lambda ds, frame, name: asked.append(frame))
    open_source(write_dicom(tmp_path / "a", dots, NumberOfFrames=1 << 16))
    assert set(asked) == {0}
    refused(write_dicom(tmp_path / "b", dots, NumberOfFrames=(1 << 16) + 1), Reason.TOO_LARGE, "65537 frames")
    asked.clear()
    refused(tmp_path / "a", Reason.TOO_SMALL, "1 × 1", min_side=2)
    assert set(asked) <= {0}


def test_one_bit_and_32_bits(tmp_path: Path) -> None:
    bits = np.packbits(np.arange(96) % 3 == 0, bitorder="little")
    tags = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
    raw = read(write_dicom(tmp_path / "a", FILM, PixelData=bits.tobytes(), **tags))
    np.testing.assert_array_equal(raw.pixels.ravel(), np.arange(96) % 3 == 0)
    np.testing.assert_array_equal(
        read(write_dicom(tmp_path / "b", FILM.astype(np.uint32) * 1000)).pixels, FILM * 1000.0
    )


def test_a_length_that_the_file_has_not_takes_no_memory(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a")
    raw = path.read_bytes()
    at = raw.index(b"\x10\x00\x20\x00LO")  # PatientID, now of 4 GB
    path.write_bytes(raw[:at] + b"\x10\x00\x20\x00UT\x00\x00" + b"\xf0\xff\xff\xff" + raw[at + 8 :])
    tracemalloc.start()
    refused(path, Reason.TRUNCATED)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


# Encodings


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings(tmp_path: Path, syntax: str) -> None:
    np.testing.assert_array_equal(read(write_dicom(tmp_path / "a", syntax=syntax)).pixels, FILM)


@pytest.mark.parametrize("pixels", [FILM, FILM.astype(np.uint8)])
def test_big_endian(tmp_path: Path, pixels: NDArray[np.generic]) -> None:
    path = write_dicom(tmp_path / "a", pixels, syntax=ExplicitVRBigEndian, PixelData=pixels.byteswap().tobytes())
    np.testing.assert_array_equal(read(path).pixels, pixels)


def deflated(path: Path, content: bytes) -> Path:
    """A file whose whole dataset is `content`, deflated."""
    plain = write_dicom(path, syntax=DeflatedExplicitVRLittleEndian).read_bytes()
    with path.open("rb") as file:
        file.seek(132)
        pydicom.filereader.read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        meta = file.tell()
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path.write_bytes(plain[:meta] + engine.compress(content) + engine.flush())
    return path


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ra_core.data.readers.dicom.header._INFLATED", 1 << 20)
    path = deflated(tmp_path / "a", bytes(1 << 28))
    tracemalloc.start()
    refused(path, Reason.TOO_LARGE, "MiB inflated")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    whole = deflated(path, bytes(100)).read_bytes()
    path.write_bytes(whole[:-3])
    refused(path, Reason.TRUNCATED)


def without_preamble(path: Path) -> Path:
    raw = path.read_bytes()
    path.write_bytes(raw[132:])
    return path


def test_no_preamble(tmp_path: Path) -> None:
    source = open_source(without_preamble(write_dicom(tmp_path / "a")))
    assert source.facts.notes == (Note.NO_PREAMBLE,)
    np.testing.assert_array_equal(source.picture(0).pixels, FILM)


def test_bare_deflation_without_preamble_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ra_core.data.readers.dicom.header._INFLATED", 1 << 20)
    refused(without_preamble(deflated(tmp_path / "a", bytes(1 << 25))), Reason.TOO_LARGE)


def test_a_compressed_file_without_a_transfer_syntax(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a", syntax=JPEGBaseline8Bit, frames=[b"\xff\xd8" * 8])
    raw = path.read_bytes()
    at = raw.index(b"\x02\x00\x10\x00UI")
    path.write_bytes(raw[:at] + b"\x02\x00\x13\x00SH" + raw[at + 6 :])
    refused(path, Reason.NO_TRANSFER_SYNTAX)


def test_video_is_not_read(tmp_path: Path) -> None:
    error = refused(
        write_dicom(tmp_path / "a", syntax=MPEG4HP41, frames=[bytes(64)]), Reason.UNSUPPORTED_TRANSFER_SYNTAX
    )
    assert "MPEG-4" in error.message


# Compressed


def jpeg(pixels: NDArray[np.uint8], **options: object) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, **{"format": "JPEG", "quality": 100, **options})  # type: ignore[arg-type]
    return stream.getvalue()


SMOOTH = np.linspace(0, 255, 32 * 24).astype(np.uint8).reshape(32, 24)


def test_frames_in_fragments(tmp_path: Path) -> None:
    frames = [jpeg(SMOOTH), jpeg(SMOOTH[::-1])]
    pieces = [piece for frame in frames for piece in (frame[:100], frame[100:])]
    path = write_dicom(tmp_path / "a", SMOOTH, JPEGBaseline8Bit, frames)
    ds = pydicom.dcmread(path)
    ds.PixelData, ds.NumberOfFrames = encapsulate(pieces, has_bot=False), 2
    ds["PixelData"].is_undefined_length = True
    ds.save_as(path)
    source = open_source(path)
    assert source.facts.notes == (Note.FRAMES_IN_FILE_ORDER,)
    for index, expected in enumerate((SMOOTH, SMOOTH[::-1])):
        np.testing.assert_allclose(source.picture(index).pixels, expected, atol=3)


def cut(frame: bytes) -> bytes:
    return frame[: len(frame) // 2]


JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
SIZE_ONLY = jpeg(SMOOTH, format="JPEG2000", no_jp2=True)[:60]


def box(kind: bytes, content: bytes, extended: bool = False) -> bytes:
    if extended:
        return (1).to_bytes(4, "big") + kind + (len(content) + 16).to_bytes(8, "big") + content
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def decoy(start: bytes) -> bytes:
    """A frame whose first size is the header's, and whose codestream is larger."""
    huge = np.zeros((400, 400), np.uint8)
    return start + SIZE_ONLY * (start == bytes(16)) + box(b"jp2c", jpeg(huge, format="JPEG2000", no_jp2=True))


@pytest.mark.parametrize(
    ("syntax", "frame", "code"),
    [
        (JPEGBaseline8Bit, cut(jpeg(SMOOTH)), Reason.TRUNCATED),
        (JPEGBaseline8Bit, jpeg(SMOOTH[:16]), Reason.DAMAGED),
        (JPEGBaseline8Bit, jpeg(np.zeros((4000, 4000), np.uint8)), Reason.DAMAGED),
        (JPEGBaseline8Bit, jpeg(np.stack([SMOOTH] * 3, -1)), Reason.DAMAGED),
        (JPEGBaseline8Bit, bytes(500), Reason.DAMAGED),
        (JPEGBaseline8Bit, b"\xff\xd8\xff", Reason.DAMAGED),
        (JPEG2000Lossless, cut(jpeg(SMOOTH, format="JPEG2000", no_jp2=True)), Reason.TRUNCATED),
        (JPEG2000Lossless, jpeg(SMOOTH.T, format="JPEG2000", no_jp2=True), Reason.DAMAGED),
        (JPEG2000Lossless, jpeg(SMOOTH.T, format="JPEG2000", no_jp2=False), Reason.DAMAGED),
        (JPEG2000Lossless, decoy(bytes(16)), Reason.DAMAGED),
        (JPEG2000Lossless, decoy(JP2 + box(b"free", SIZE_ONLY)), Reason.DAMAGED),
        (JPEG2000Lossless, decoy(JP2 + box(b"free", SIZE_ONLY, extended=True)), Reason.DAMAGED),
        (JPEG2000Lossless, JP2 + box(b"free", SIZE_ONLY), Reason.DAMAGED),
        (JPEG2000Lossless, JP2 + bytes(4) + b"free" + SIZE_ONLY, Reason.DAMAGED),
    ],
)
def test_a_frame_that_is_not_whole_or_of_another_size_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str, frame: bytes, code: Reason
) -> None:
    monkeypatch.delattr(Decoder, "as_array")
    monkeypatch.delattr("ra_core.data.readers.dicom.frames.decode_apart")
    refused(write_dicom(tmp_path / "a", SMOOTH, syntax, [frame]), code)


def test_a_jp2_file_as_a_frame(tmp_path: Path) -> None:
    frame = jpeg(SMOOTH, format="JPEG2000", no_jp2=False)
    np.testing.assert_array_equal(read(write_dicom(tmp_path / "a", SMOOTH, JPEG2000Lossless, [frame])).pixels, SMOOTH)


def test_boxes_before_the_codestream(tmp_path: Path) -> None:
    raw = jpeg(SMOOTH, format="JPEG2000", no_jp2=True)
    boxes = JP2 + box(b"free", SIZE_ONLY) + box(b"free", SIZE_ONLY, extended=True)
    for frame in (
        boxes + box(b"jp2c", raw),
        boxes + box(b"jp2c", raw, extended=True),
        boxes + bytes(4) + b"jp2c" + raw,
    ):
        path = write_dicom(tmp_path / "a", SMOOTH, JPEG2000Lossless, [frame])
        np.testing.assert_array_equal(read(path).pixels, SMOOTH)


@pytest.mark.parametrize("cut_to", [-8, -30, -300])
def test_a_compressed_file_that_ends_early(tmp_path: Path, cut_to: int) -> None:
    path = write_dicom(tmp_path / "a", SMOOTH, JPEGBaseline8Bit, [jpeg(SMOOTH)])
    path.write_bytes(path.read_bytes()[:cut_to])
    refused(path, Reason.TRUNCATED)


def test_an_extended_offset_table(tmp_path: Path) -> None:
    frames = [jpeg(SMOOTH), jpeg(SMOOTH[::-1])]
    data, starts, lengths = encapsulate_extended(frames)
    table = {"ExtendedOffsetTable": starts, "ExtendedOffsetTableLengths": lengths}
    path = write_dicom(tmp_path / "a", SMOOTH, JPEGBaseline8Bit, frames, PixelData=data, NumberOfFrames=2, **table)
    np.testing.assert_allclose(open_source(path).picture(1).pixels, SMOOTH[::-1], atol=3)


def test_fewer_frames_than_told(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a", SMOOTH, JPEGBaseline8Bit, [jpeg(SMOOTH)], NumberOfFrames=1000)
    refused(path, Reason.TRUNCATED)


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        (JPEGBaseline8Bit, "pillow"),
        (RLELossless, "pydicom"),
        (JPEGLosslessSV1, "python-gdcm"),
        (JPEGLSLossless, "pyjpegls"),
        (JPEG2000Lossless, "pylibjpeg-openjpeg"),
    ],
)
def test_a_missing_decoder_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: pydicom.uid.UID, package: str
) -> None:
    path = write_dicom(tmp_path / "a", SMOOTH, syntax, [jpeg(SMOOTH)])
    monkeypatch.setattr(Decoder, "available_plugins", ())
    error = refused(path, Reason.NO_DECODER, syntax.name)
    assert package in error.hint
    dependencies = (Path(__file__).parents[4] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"{package}>=' in dependencies


def test_jpeg_extended_is_read_up_to_8_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = jpeg(SMOOTH)
    np.testing.assert_allclose(
        read(write_dicom(tmp_path / "a", SMOOTH, JPEGExtended12Bit, [frame])).pixels, SMOOTH, atol=3
    )
    at = frame.index(b"\xff\xc0")
    path = write_dicom(tmp_path / "b", SMOOTH, JPEGExtended12Bit, [frame[: at + 4] + b"\x0c" + frame[at + 5 :]])
    monkeypatch.setattr(Decoder, "available_plugins", ("pillow", "gdcm"))
    assert "pylibjpeg-libjpeg (GPL-3.0)" in refused(path, Reason.NO_DECODER, "permissively licensed").hint


# Colour


def colour_tags(photometric: str = "RGB", planar: int = 0) -> dict[str, object]:
    return {"SamplesPerPixel": 3, "PhotometricInterpretation": photometric, "PlanarConfiguration": planar}


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_with_equal_channels_is_grey(tmp_path: Path, planar: int) -> None:
    data = np.stack([SMOOTH] * 3, axis=0 if planar else -1).tobytes()
    raw = read(write_dicom(tmp_path / "a", SMOOTH, PixelData=data, **colour_tags(planar=planar)))
    np.testing.assert_array_equal(raw.pixels, SMOOTH)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_ybr_without_chroma_is_grey(tmp_path: Path, photometric: str) -> None:
    chroma = np.full_like(SMOOTH, 128)
    if photometric == "YBR_FULL":
        data = np.stack([SMOOTH, chroma, chroma], axis=-1)
    else:
        pairs = SMOOTH.reshape(-1, 2)
        data = np.concatenate([pairs, np.full_like(pairs, 128)], axis=1)
    raw = read(write_dicom(tmp_path / "a", SMOOTH, PixelData=data.tobytes(), **colour_tags(photometric)))
    np.testing.assert_array_equal(raw.pixels, SMOOTH)


def test_one_coloured_pixel_makes_a_colour_picture(tmp_path: Path) -> None:
    data = np.stack([SMOOTH] * 3, axis=-1)
    data[3, 4, 2] += 40
    refused(write_dicom(tmp_path / "a", SMOOTH, PixelData=data.tobytes(), **colour_tags()), Reason.COLOUR_IMAGE)


@pytest.mark.parametrize("grey", [True, False])
def test_palettes_are_applied(tmp_path: Path, grey: bool) -> None:
    ramp = (np.arange(256, dtype=np.uint16)[::-1] * 257).copy()
    tags: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = (ramp if grey or colour == "Red" else ramp // 2).tobytes()
    path = write_dicom(tmp_path / "a", SMOOTH, **tags)
    if grey:
        np.testing.assert_array_equal(read(path).pixels, ramp[SMOOTH])
    else:
        refused(path, Reason.COLOUR_IMAGE)


# Several frames

VOLUME = np.stack([FILM + 1000 * i for i in range(4)])


def test_frames_are_ordered_in_space_and_scaled_each_by_its_own(tmp_path: Path) -> None:
    source = open_source(write_enhanced(tmp_path / "a", VOLUME, heights=[6, -3, 3, 0], slopes=[1, 2, 0.5, 4]))
    assert source.facts.frames == 4
    assert source.facts.positions == (-3, 0, 3, 6)
    assert source.facts.spacing == (0.5, 0.25)
    assert source.facts.notes == ()
    for index, (frame, slope) in enumerate([(1, 2), (3, 4), (2, 0.5), (0, 1)]):
        np.testing.assert_array_equal(source.picture(index).pixels, VOLUME[frame] * slope)


@pytest.mark.parametrize(
    ("directions", "positions", "order"),
    [
        ([1, 0, 0, 0, 1, 0], [[0, 0, z] for z in (2, 0, 1, 3)], (1, 2, 0, 3)),  # to the head
        ([1, 0, 0, 0, 0, -1], [[0, y, 0] for y in (2, 0, 1, 3)], (3, 0, 2, 1)),  # to the front
        ([0, 1, 0, 0, 0, -1], [[x, 0, 0] for x in (2, 0, 1, 3)], (1, 2, 0, 3)),  # to the left
    ],
)
def test_stacks_run_to_the_head_the_front_or_the_left(
    tmp_path: Path, directions: list[float], positions: list[list[float]], order: tuple[int, ...]
) -> None:
    groups = [item(PlanePositionSequence=[item(ImagePositionPatient=p)]) for p in positions]
    shared = item(PlaneOrientationSequence=[item(ImageOrientationPatient=directions)])
    tags = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": groups}
    source = open_source(write_enhanced(tmp_path / "a", VOLUME, **tags))
    for index, frame in enumerate(order):
        np.testing.assert_array_equal(source.picture(index).pixels, VOLUME[frame])
    assert source.facts.positions == tuple(sorted(source.facts.positions or ()))
    assert not source.facts.tilted


# Upright: what a picture shows is told by four corners, each with the patient directions that it lies in

CORNERS = np.zeros((12, 8), dtype=np.uint16)
CORNERS[0, 0], CORNERS[0, -1], CORNERS[-1, 0], CORNERS[-1, -1] = 1000, 2000, 3000, 4000
AXES = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
OPPOSITE = dict(zip("LRPAHF", "RLAPFH", strict=True))


def corners(pixels: NDArray[np.generic], along: str, down: str) -> dict[float, frozenset[str]]:
    """Value of each corner, and where in the patient it lies if rows run to `along` and columns to `down`."""
    ends = {(0, 0): (OPPOSITE[along], OPPOSITE[down]), (0, -1): (along, OPPOSITE[down])}
    ends |= {(-1, 0): (OPPOSITE[along], down), (-1, -1): (along, down)}
    return {float(pixels[at]): frozenset(where) for at, where in ends.items()}


PLANES = {"axial": ("LR", "AP", "LP"), "coronal": ("LR", "HF", "LF"), "sagittal": ("AP", "HF", "PF")}
WAYS = [
    (one, other, "".join(wanted))
    for first, second, wanted in PLANES.values()
    for a in first
    for b in second
    for one, other in ((a, b), (b, a))
]


def oblique(vector: tuple[int, int, int]) -> list[float]:
    """Turned by 20 degrees, then by 30, about two axes."""
    c, s, d, t = np.cos(0.35), np.sin(0.35), np.cos(0.52), np.sin(0.52)
    return [
        float(n) for n in np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ [[d, 0, t], [0, 1, 0], [-t, 0, d]] @ vector
    ]


@pytest.mark.parametrize("turned", [list, oblique])
@pytest.mark.parametrize(("along", "down", "wanted"), WAYS)
def test_slices_are_shown_upright(tmp_path: Path, along: str, down: str, wanted: str, turned) -> None:
    directions = [*turned(AXES[along]), *turned(AXES[down])]
    place = {"ImageOrientationPatient": directions, "ImagePositionPatient": [1, 2, 3], "PixelSpacing": [0.5, 0.25]}
    source = open_source(write_dicom(tmp_path / "a", CORNERS, **place))
    picture = source.picture(0)
    assert corners(picture.pixels, *wanted) == corners(CORNERS, along, down)
    assert picture.pixels.shape == source.facts.shape
    assert picture.spacing == source.facts.spacing == ((0.5, 0.25) if picture.pixels.shape == (12, 8) else (0.25, 0.5))
    assert picture.turn == source.facts.turn
    np.testing.assert_array_equal(stored(picture.pixels, picture.turn), CORNERS)
    np.testing.assert_array_equal(upright(CORNERS, picture.turn), picture.pixels)
    assert source.facts.origins == ((1, 2, 3),)  # as the file stores it


def test_frames_are_turned_together(tmp_path: Path) -> None:
    shared = item(PlaneOrientationSequence=[item(ImageOrientationPatient=[0, -1, 0, -1, 0, 0])])
    path = write_enhanced(tmp_path / "a", VOLUME, heights=[3, 2, 1, 0], SharedFunctionalGroupsSequence=[shared])
    source = open_source(path)
    assert source.facts.turn == Turn(True, True, True)
    assert source.facts.shape == (8, 12)
    np.testing.assert_array_equal(source.picture(0).pixels, VOLUME[3].T[::-1, ::-1])


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (["L", "F"], ["L", "F"]),
        (["R", "F"], ["L", "F"]),
        (["L", "H"], ["L", "F"]),
        (["R", "H"], ["L", "F"]),
        (["F", "L"], ["L", "F"]),
        (["F", "R"], ["L", "F"]),
        (["H", "R"], ["L", "F"]),
        (["LF", "FRP"], ["L", "F"]),
        (["A", "F"], ["A", "F"]),
        (["P", "F"], ["P", "F"]),
        (["A", "H"], ["A", "F"]),
        (["P", "FR"], ["P", "F"]),
        (["F", "P"], ["A", "F"]),  # rotated, not mirrored
        (["H", "P"], ["P", "F"]),
    ],
)
def test_films_are_shown_head_up(tmp_path: Path, orientation: list[str], shown: list[str]) -> None:
    pixels = read(write_dicom(tmp_path / "a", CORNERS, PatientOrientation=orientation)).pixels
    assert corners(pixels, *shown) == corners(CORNERS, *(side[0] for side in orientation))


@pytest.mark.parametrize(
    "orientation", [["A", "R"], ["L"], ["H", "F"], ["LE", "F"], ["", ""], ["X", "H"], ["L", "H", "A"], None]
)
def test_films_that_do_not_say_stay(tmp_path: Path, orientation: list[str] | None) -> None:
    raw = read(write_dicom(tmp_path / "a", CORNERS, PatientOrientation=orientation))
    np.testing.assert_array_equal(raw.pixels, CORNERS)
    assert raw.turn == Turn()


def test_a_tilted_stack(tmp_path: Path) -> None:
    groups = [item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0.3 * z, z])]) for z in range(4)]
    facts = open_source(write_enhanced(tmp_path / "a", VOLUME, PerFrameFunctionalGroupsSequence=groups)).facts
    assert facts.tilted
    assert facts.origins is not None
    assert facts.origins[3] == (0, pytest.approx(0.9), 3)


def test_slope_and_window_in_shared_groups(tmp_path: Path) -> None:
    shared = item(
        PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=-100, RescaleType="US")],
        FrameVOILUTSequence=[item(WindowCenter=[300.5, 1], WindowWidth=[201, 1])],
    )
    path = write_enhanced(tmp_path / "a", VOLUME, SharedFunctionalGroupsSequence=[shared])
    np.testing.assert_array_equal(open_source(path).picture(0).pixels, np.clip(FILM * 2.0 - 100, 200, 400))


def test_frames_without_places_stay_in_the_files_order(tmp_path: Path) -> None:
    source = open_source(write_enhanced(tmp_path / "a", VOLUME))
    assert source.facts.notes == (Note.FRAMES_IN_FILE_ORDER,)
    assert source.facts.positions is None
    np.testing.assert_array_equal(source.picture(3).pixels, VOLUME[3])


def test_one_of_several_volumes_is_taken(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "a", VOLUME, heights=[5, 0, 5, 0])
    first = open_source(path)
    assert (first.facts.frames, first.facts.notes) == (2, (Note.FIRST_VOLUME,))
    np.testing.assert_array_equal(first.picture(0).pixels, VOLUME[1])
    second = open_source(path, Reading(volume=1))
    np.testing.assert_array_equal(second.picture(1).pixels, VOLUME[2])
    refused(path, Reason.NOT_3D, "2 volumes", volume=2)


def test_stacks_of_several_directions_are_refused(tmp_path: Path) -> None:
    groups = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, z])],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 0, -1] if z else [1, 0, 0, 0, 1, 0])],
        )
        for z in range(4)
    ]
    path = write_enhanced(tmp_path / "a", VOLUME, PerFrameFunctionalGroupsSequence=groups)
    refused(path, Reason.UNSUPPORTED_CONTENT, "several directions")


def test_an_empty_slice_is_told_from_a_constant_image(tmp_path: Path) -> None:
    volume = VOLUME.copy()
    volume[2] = 0
    source = open_source(write_enhanced(tmp_path / "a", volume, heights=[0, 1, 2, 3]))
    with pytest.raises(DataError) as caught:
        source.picture(2)
    assert caught.value.code == Reason.EMPTY_SLICE
    np.testing.assert_array_equal(source.picture(3).pixels, volume[3])


def test_only_one_frame_is_read_at_a_time(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 4000, (40, 128, 128), dtype=np.uint16)
    source = open_source(write_enhanced(tmp_path / "a", volume, heights=list(range(40))))
    source.picture(0)
    tracemalloc.start()
    np.testing.assert_array_equal(source.picture(39).pixels, volume[39])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < volume.nbytes


def test_nothing_of_the_patient_is_printed(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = write_dicom(tmp_path / "Secret.dcm", SMOOTH, JPEGLosslessSV1, [cut(jpeg(SMOOTH)) + b"\xff\xd9"])
    refused(path.rename(tmp_path / "a"), Reason.DAMAGED)
    read_pixels(write_dicom(tmp_path / "b", StudyInstanceUID="Secret", PixelData=FILM.tobytes() + bytes(500)))
    printed = capfd.readouterr()
    warned = "".join(str(one.message) for one in recwarn)
    assert "Secret" not in printed.out + printed.err + caplog.text + warned
