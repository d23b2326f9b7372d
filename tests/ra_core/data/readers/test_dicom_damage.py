"""Whatever a file holds, nothing but DataError comes out of the door."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicoms import CT, FILM, write_dicom, write_enhanced
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.datadict import tag_for_keyword
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import DeflatedExplicitVRLittleEndian

from ra_core.data.readers import Reading, Reason, open_source
from ra_core.data.readers.dicom import apart, header
from ra_core.data.readers.dicom.worker import receive, send
from ra_core.errors import DataError

bounded = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
READINGS = [Reading(max_voxels=1 << 20), Reading(window="brain", volume=1, max_voxels=1 << 20)]


def try_(path: Path) -> set[str]:
    """Read all there is, and tell the reasons against it."""
    reasons = set()
    for reading in READINGS:
        try:
            source = open_source(path, reading)
        except DataError as error:
            reasons.add(error.code)
            continue
        for index in range(source.facts.frames):
            try:
                assert np.isfinite(source.picture(index).pixels).all()
            except DataError as error:
                reasons.add(error.code)
    assert reasons <= set(Reason)
    return reasons


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("whole")
    plain = [
        write_dicom(folder / "plain", FILM.astype(np.int16), **CT, WindowCenter=[40, 50], WindowWidth=[80, 90]),
        write_dicom(folder / "deflated", syntax=DeflatedExplicitVRLittleEndian),
        write_enhanced(folder / "enhanced", np.stack([FILM] * 3), heights=[0, 2, 1], slopes=[1, 2, 3]),
    ]
    wheels = ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_dcmtk.dcm"]
    return [Path(str(path)).read_bytes() for path in (*plain, *(get_testdata_file(n, download=False) for n in wheels))]


@bounded
@given(data=st.data())
def test_a_file_cut_at_any_byte(tmp_path: Path, whole: list[bytes], data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(whole))
    padding = content.find(b"\xfc\xff\xfc\xff")  # behind the pixels, where nothing is lost
    at = data.draw(st.integers(0, (padding if padding > 0 else len(content)) - 1))
    (tmp_path / "a.dcm").write_bytes(content[:at])
    assert try_(tmp_path / "a.dcm")  # never read as if it were whole


@bounded
@given(data=st.data())
def test_a_file_with_flipped_bytes(tmp_path: Path, whole: list[bytes], data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(whole)))
    behind = data.draw(st.sampled_from([len(content), 2000]))
    places = st.integers(0, min(behind, len(content)) - 1)
    for at, byte in data.draw(st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=8)).items():
        content[at] = byte
    (tmp_path / "a.dcm").write_bytes(content)
    try_(tmp_path / "a.dcm")


@bounded
@given(tail=st.binary(max_size=600), preamble=st.booleans())
def test_random_bytes(tmp_path: Path, tail: bytes, preamble: bool) -> None:
    (tmp_path / "a.dcm").write_bytes((bytes(128) + b"DICM" if preamble else b"\x08\x00") + tail)
    assert try_(tmp_path / "a.dcm")


VALUES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"", b"1A", b"nan", b"1e999", b"-1", b"0\\0", b"1\\2\\3\\4\\5\\6", b"YES ", b"LOCALIZER", b"\xff\xff"]
    ),
)
NAMES = [name for name in header._NAMES if tag_for_keyword(name) and not name.startswith("Extended")]


@bounded
@given(tags=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=5), enhanced=st.booleans())
def test_a_header_of_random_values(tmp_path: Path, tags: dict[str, bytes], enhanced: bool) -> None:
    path = tmp_path / "a.dcm"
    if enhanced:
        write_enhanced(path, np.stack([FILM] * 2), heights=[0, 1])
    else:
        write_dicom(path, FILM.astype(np.int16), **CT)
    ds = pydicom.dcmread(path)
    for name, value in tags.items():
        raw = value + b" " * (len(value) % 2)
        tag = pydicom.tag.Tag(name)
        ds._dict[tag] = pydicom.dataelem.RawDataElement(tag, "UN", len(raw), raw, 0, False, True)
    ds.save_as(path)
    try_(path)


# The process apart


def lossless(shared: Path) -> Path:
    return shared / "cases" / "imaging" / "05_compressed" / "jpeg_lossless_sv1.dcm"


def test_a_frame_that_ends_the_decoder_is_one_refused_file(shared: Path, tmp_path: Path) -> None:
    content = lossless(shared).read_bytes()
    at = content.index(b"\xff\xc3")
    bad = tmp_path / "a.dcm"
    bad.write_bytes(content[: at + 4] + b"\x20" + content[at + 5 :])  # 32 bits, at which gdcm crashes
    assert try_(bad) == {Reason.DAMAGED, Reason.NOT_IN_HOUNSFIELD}
    assert open_source(lossless(shared)).picture(0).pixels.max() > 3000


def test_pixels_that_the_decoder_made_up_are_refused(shared: Path, tmp_path: Path) -> None:
    content = bytearray(lossless(shared).read_bytes())
    end = content.rindex(b"\xff\xd9")
    content[end - 4000 : end - 3998] = b"\xff\xd9"  # the stream ends early, and has an end
    (tmp_path / "a.dcm").write_bytes(content)
    assert Reason.DAMAGED in try_(tmp_path / "a.dcm")


@pytest.mark.parametrize("name", ["jpeg2000_lossless", "jpegls_lossless", "jpeg_lossless_sv1"])
def test_compiled_decoders_run_apart(shared: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delattr(Decoder, "as_array")
    path = lossless(shared).with_name(f"{name}.dcm")
    assert open_source(path).picture(0).pixels.max() > 3000


def test_an_answer_that_is_too_long_is_not_read() -> None:
    stream = BytesIO()
    send(stream, b"<u2", bytes(100))
    assert receive(BytesIO(stream.getvalue()), 100) == (b"<u2", bytes(100))
    assert receive(BytesIO(stream.getvalue()), 99) is None
    assert receive(BytesIO(b"\xff" * 8), 99) is None


def test_a_decoder_that_takes_too_long_is_ended(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apart._end()
    monkeypatch.setattr(apart, "_PATIENCE", 1e-3)  # less than it takes to start
    with pytest.raises(DataError) as caught:
        open_source(lossless(shared)).picture(0)
    assert caught.value.code == Reason.DAMAGED
    monkeypatch.undo()
    open_source(lossless(shared)).picture(0)
