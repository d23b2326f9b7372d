"""What `ra-client score` writes, keeps to itself and says."""

import csv
import gzip
import io
import json
import os
import re
import shutil
import stat
import threading

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image
from scorable import (
    PATIENT,
    as_nifti,
    ball,
    blur_model,
    head,
    heads,
    promised,
    write_dicom,
    write_nifti,
    write_png,
    write_series,
)
from typer.testing import CliRunner

from client.cli import app
from client.score import run as score_run
from client.score.folder import MARK
from client.score.overlay import ColourScale, Panel, blend, draw_overlay
from client.score.table import Row, Table
from ra_core.artifact import save_artifact
from ra_core.errors import ConfigError, DataError, NotScoredError, ResumeError
from ra_core.finding import Item

pytestmark = pytest.mark.slow


@pytest.fixture
def score(monkeypatch, tmp_path):
    """Score with the blur model, or another."""

    def run(*paths, out=tmp_path / "out", model=None, site=None, **changes):
        def load(_model, _calibration, _weights, _device, limits, any_part):
            return model or blur_model(limits=limits, any_part=any_part)

        monkeypatch.setattr(score_run, "load", load)
        options = {"calibration": None, "weights": None, "any_part": False, "device": "cpu", "threads": 1}
        score_run.run_score(paths, tmp_path, out, site=site, **options | changes)
        return rows_of(out)

    return run


def rows_of(out):
    with (out / "scores.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what is written


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder of everything, scored. Look, don't touch."""
    folder = tmp_path_factory.mktemp("done")
    stack = heads(5)
    write_png(folder / "in/a/scan.png", stack[0])
    write_png(folder / "in/b/scan.png", stack[1])
    write_series(folder / "in/ct", stack)
    write_nifti(folder / "in/v.nii.gz", as_nifti(stack), np.diag([-1.0, 1, 2, 1]))
    (folder / "in/note.txt").write_text("no image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_run, "load", lambda *_: blur_model())
        score_run.run_score([folder / "in"], folder, folder / "out", None, None, None, False, "cpu", 1)
    return folder


def test_every_study_has_a_row_and_an_overlay_of_its_own(done):
    rows = rows_of(done / "out")
    assert [(row["study"].split("/in/")[1], row["kind"], row["reason"]) for row in rows] == [
        ("a/scan.png", "raster", ""),
        ("b/scan.png", "raster", ""),
        ("ct/IM0000", "dicom", ""),
        ("note.txt", "", "not_an_image"),
        ("v.nii.gz", "nifti", ""),
    ]
    assert [int(row["number"]) for row in rows] == [1, 2, 3, 4, 5]
    scored = [row for row in rows if row["score"]]
    assert {(row["slices_scored"], row["slices_declared"]) for row in scored} == {("1", "1"), ("5", "5")}
    assert {row["decision"] for row in scored} == {"above"}
    overlays = sorted((done / "out/overlays").iterdir())
    assert [path.name for path in overlays] == [f"{int(r['number']):04d}-{r['content'][:8]}.png" for r in scored]
    assert len({path.read_bytes() for path in overlays}) == 4


def test_the_same_pixels_have_the_same_score_in_every_format(done):
    series, volume = (row for row in rows_of(done / "out") if row["slices_declared"] == "5")
    assert float(series["score"]) == pytest.approx(float(volume["score"]), rel=1e-4)
    assert series["highest_slice"] == volume["highest_slice"]


def test_a_dicom_series_refers_to_its_source(done):
    sources = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, (done / "in/ct").iterdir())}
    maps = [pydicom.dcmread(path) for path in sorted((done / "out/dicom").rglob("*.dcm"))]
    assert len(maps) == 5
    assert len({ds.SeriesInstanceUID for ds in maps}) == 1
    assert len({ds.SOPInstanceUID for ds in maps}) == 5
    for ds in maps:
        (reference,) = ds.SourceImageSequence
        source = sources.pop(reference.ReferencedSOPInstanceUID)
        assert reference.ReferencedSOPClassUID == source.SOPClassUID
        assert ds.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
        assert ds.SeriesInstanceUID != source.SeriesInstanceUID
        for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "AccessionNumber"):
            assert ds[name].value == source[name].value
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"):
            assert ds[name].value == source[name].value
        assert ds.InstanceNumber == source.ImagePositionPatient[2] / 3 + 1
        assert str(ds.PatientName) == PATIENT
        assert "NOT FOR DIAGNOSIS" in ds.SeriesDescription
        assert "Not for diagnosis" in ds.DerivationDescription
        assert ds.pixel_array.shape == (70, 60, 3)
    assert not sources


def test_a_nifti_map_lies_on_the_inputs_grid(done):
    (path,) = (done / "out/nifti").iterdir()
    given, found = nib.load(done / "in/v.nii.gz"), nib.load(path)
    assert found.shape == given.shape
    assert np.array_equal(found.affine, given.affine)
    assert found.get_data_dtype() == np.float32
    assert float(found.get_fdata().max()) > 0
    assert b"not for diagnosis" in found.header["descrip"].item()


def test_the_page_shows_the_highest_score_first_and_is_marked(done):
    page = (done / "out/index.html").read_text(encoding="utf-8")
    numbers = [int(n) for n in re.findall(r"No\. (\d+)</span>", page)]
    scores = {int(row["number"]): float(row["score"]) for row in rows_of(done / "out") if row["score"]}
    assert numbers == sorted(scores, key=lambda number: (-scores[number], number))
    assert "Site-only" in page
    assert "Not for diagnosis" in page
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert links
    assert [link for link in links if not (done / "out" / link).exists()] == []
    assert "note.txt" in page


def test_all_is_for_the_owner_alone_and_marked(done):
    out = done / "out"
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in out.rglob("*")}
    assert modes == {(True, 0o700), (False, 0o600)}
    assert "STAYS AT THE SITE" in (out / MARK).read_text()


def test_names_of_files_tell_nothing(done):
    for name in files_of(done / "out"):
        assert re.fullmatch(
            r"(scores\.csv|index\.html|SITE_ONLY\.txt|(overlays|nifti|dicom)/\d{4}-[0-9a-f]{8}.*)", name
        )


def test_a_second_run_scores_nothing_and_changes_nothing(done, monkeypatch):
    before = files_of(done / "out")
    model = blur_model()
    asked = []
    monkeypatch.setattr(model, "score", asked.append)
    monkeypatch.setattr(score_run, "load", lambda *_: model)
    score_run.run_score([done / "in"], done, done / "out", None, None, None, False, "cpu", 1)
    assert not asked
    assert files_of(done / "out") == before


# --- going on


def test_what_was_left_off_is_taken_up(score, monkeypatch, tmp_path):
    """Ctrl-C after each study, until all are scored: the same files as in one go."""
    stack = heads(4)
    for place, pixels in enumerate(stack):
        write_png(tmp_path / f"in/{place}.png", pixels)
    score(tmp_path / "in", out=tmp_path / "once")

    def once_more(model, items, table, folder, progress, stopped, history):
        asked = iter([False] * (1 + len(table.rows)) + [True] * 9)
        return whole(model, items, table, folder, progress, lambda: next(asked), history)

    whole = score_run.score_all
    monkeypatch.setattr(score_run, "score_all", once_more)
    for count in range(1, 5):
        assert len(score(tmp_path / "in", out=tmp_path / "often")) == count
    assert files_of(tmp_path / "often") == files_of(tmp_path / "once")


def test_ctrl_c_ends_after_the_study_at_hand(score, monkeypatch, tmp_path):
    import signal

    for place, pixels in enumerate(heads(3)):
        write_png(tmp_path / f"in/{place}.png", pixels)
    model = blur_model()
    genuine = model.score

    def interrupted(study):
        os.kill(os.getpid(), signal.SIGINT)
        return genuine(study)

    monkeypatch.setattr(model, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path / "in", model=model)
    assert len(rows_of(tmp_path / "out")) == 1
    assert (tmp_path / "out/index.html").exists()
    assert len(score(tmp_path / "in")) == 3


def test_the_next_study_is_read_while_one_is_scored(score, monkeypatch, tmp_path):
    """And no other: memory is that of two pictures."""
    for place, pixels in enumerate(heads(4)):
        write_png(tmp_path / f"in/{place}.png", pixels)
    model, opened, started = blur_model(), [], threading.Semaphore(0)
    genuine_open, genuine_score = Item.open, model.score

    def open_(item, terms):
        study = genuine_open(item, terms)
        opened.append(item)
        started.release()
        return study

    def scored(study):
        number = len(rows_of(tmp_path / "out"))
        assert started.acquire(timeout=10)
        if number == 0:
            assert started.acquire(timeout=10)
        assert len(opened) == min(number + 2, 4)
        if number == 2:
            started.release()  # there is no fifth
        return genuine_score(study)

    monkeypatch.setattr(Item, "open", open_)
    monkeypatch.setattr(model, "score", scored)
    rows = score(tmp_path / "in", model=model)
    assert [row["study"][-5:] for row in rows] == ["0.png", "1.png", "2.png", "3.png"]
    opened.clear()
    score(tmp_path / "in", model=model)
    assert not opened, "a study that is known is not opened again"


def test_a_changed_file_is_scored_anew(score, tmp_path):
    path = write_png(tmp_path / "x.png", head((70, 60)))
    score(path)
    write_png(path, head((70, 60), 1))
    first, second = score(path)
    assert first["study"] == second["study"]
    assert first["content"] != second["content"]
    assert [first["number"], second["number"]] == ["1", "2"]


def test_half_a_row_is_written_again(score, tmp_path):
    for place, pixels in enumerate(heads(2)):
        write_png(tmp_path / f"in/{place}.png", pixels)
    rows = score(tmp_path / "in")
    table = tmp_path / "out/scores.csv"
    table.write_bytes(table.read_bytes()[:-20])
    assert score(tmp_path / "in") == rows


def test_what_could_not_be_scored_is_tried_again(score, tmp_path):
    path = tmp_path / "in/x.png"
    path.parent.mkdir()
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(NotScoredError):
        score(tmp_path / "in")
    write_png(path, head((70, 60)))
    (row,) = score(tmp_path / "in")
    assert row["score"]


def test_another_models_scores_are_not_mixed_in(score, tmp_path):
    path = write_png(tmp_path / "x.png", head((70, 60)))
    score(path)
    before = files_of(tmp_path / "out")
    with pytest.raises(ResumeError, match="another model or calibration"):
        score(path, model=blur_model(image=5.0))
    assert files_of(tmp_path / "out") == before


def test_a_folder_with_other_things_is_left_alone(score, tmp_path):
    path = write_png(tmp_path / "x.png", head((70, 60)))
    (tmp_path / "mine").mkdir(mode=0o755)
    (tmp_path / "mine/thesis.txt").write_text("chapter 1")
    with pytest.raises(ResumeError):
        score(path, out=tmp_path / "mine")
    assert list(files_of(tmp_path / "mine")) == ["thesis.txt"]


@pytest.mark.parametrize("damage", [b"a,b\n1,2\n", b"\xff\xfe\n", b""])
def test_a_file_that_is_no_table_is_refused_or_begun_anew(tmp_path, damage):
    path = tmp_path / "scores.csv"
    path.write_bytes(damage)
    if damage:
        with pytest.raises(ResumeError):
            Table(path, "m")
    else:
        assert Table(path, "m").rows == []


def test_rows_come_back_as_they_were(tmp_path):
    table = Table(tmp_path / "scores.csv", "m")
    odd = os.fsdecode(b'/a/caf\xe9, "x"\n=1.png')
    row = Row(1, odd, "dicom", 3, 4, 0.1 + 0.2, "above", 0.1, "asked 5 %, so, so", 2, "empty_slice:1", "", "c", "m")
    table.append(row)
    again = Table(tmp_path / "scores.csv", "m")
    assert again.rows == [row]
    assert again.find(odd, "c") == row
    assert again.next_number == 2


# --- what goes wrong


def test_what_can_not_be_scored_is_told_and_the_rest_is_scored(score, tmp_path):
    write_png(tmp_path / "in/good.png", head((70, 60)))
    write_png(tmp_path / "in/flat.png", np.full((70, 60), 9, np.uint8))
    write_png(tmp_path / "in/small.png", head((20, 20)))
    (tmp_path / "in/empty.dcm").touch()
    with pytest.raises(NotScoredError) as caught:
        score(tmp_path / "in")
    assert caught.value.exit_code == 19
    assert "3 of 4" in caught.value.message
    reasons = {row["study"].split("/")[-1]: row["reason"] for row in rows_of(tmp_path / "out")}
    assert reasons == {
        "empty.dcm": "empty_file",
        "flat.png": "constant_image",
        "good.png": "",
        "small.png": "too_small",
    }


def test_a_slice_that_is_lost_counts(score, monkeypatch, tmp_path):
    from client.score import stream

    write_series(tmp_path / "in", heads(3))
    monkeypatch.setattr(stream, "captures", lambda *_: ())
    model = blur_model()
    genuine = model.score

    def losing(study):
        def picture(index):
            if index == 1:
                raise DataError("x", "", "damaged")
            return study.picture(index)

        return genuine(type(study)(study.files, study.kind, study.count, study.wanted, study.volume, picture))

    monkeypatch.setattr(model, "score", losing)
    with pytest.raises(NotScoredError):
        score(tmp_path / "in", model=model)
    (row,) = rows_of(tmp_path / "out")
    assert row["slices_refused"] == "damaged:1"
    assert (row["slices_scored"], row["slices_declared"]) == ("2", "3")


def test_a_file_asked_for_by_name_counts_though_it_is_no_image(score, tmp_path):
    good, note = write_png(tmp_path / "good.png", head((70, 60))), tmp_path / "note.txt"
    note.write_text("no image")
    with pytest.raises(NotScoredError):
        score(good, note)


@pytest.mark.parametrize("folder_first", [True, False])
def test_a_file_asked_for_by_name_and_in_its_folder_is_scored_once_and_counts(score, tmp_path, folder_first):
    good, note = write_png(tmp_path / "in/good.png", head((70, 60))), tmp_path / "in/note.txt"
    note.write_text("no image")
    paths = [tmp_path / "in", good, note][:: 1 if folder_first else -1]
    with pytest.raises(NotScoredError, match="1 of 2"):
        score(*paths)
    assert sorted(row["reason"] for row in rows_of(tmp_path / "out")) == ["", "not_an_image"]


def test_pictures_are_counted_of_all_that_can_be_opened(score, tmp_path):
    write_png(tmp_path / "in/flat.png", np.full((70, 60), 9, np.uint8))
    (tmp_path / "in/empty.dcm").touch()
    with pytest.raises(NotScoredError):
        score(tmp_path / "in")
    counts = [(r["kind"], r["slices_scored"], r["slices_declared"]) for r in rows_of(tmp_path / "out")]
    assert counts == [("", "0", "0"), ("raster", "0", "1")]


def test_a_pipe_does_not_stop_it(score, tmp_path):
    write_png(tmp_path / "in/x.png", head((70, 60)))
    os.mkfifo(tmp_path / "in/pipe.dcm")
    for paths in ([tmp_path / "in"], [tmp_path / "in/pipe.dcm", tmp_path / "in/x.png"]):
        with pytest.raises(NotScoredError):
            score(*paths)
    assert sorted(row["reason"] for row in rows_of(tmp_path / "out")) == ["", "not_a_file"]


def test_nothing_at_all_is_not_a_success(score, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(NotScoredError):
        score(tmp_path / "in")
    with pytest.raises(DataError, match="path 2 of 2"):
        score(tmp_path / "in", tmp_path / "nowhere")


def test_a_header_without_a_study_gets_no_series_but_a_score(score, tmp_path):
    write_dicom(tmp_path / "in/x.dcm", head((70, 60)), StudyInstanceUID=None)
    with pytest.raises(NotScoredError):
        score(tmp_path / "in")
    (row,) = rows_of(tmp_path / "out")
    assert row["score"]
    assert row["reason"] == "result_not_written"
    assert not list(tmp_path.glob("out/dicom/*"))


@pytest.mark.parametrize(
    ("name", "write", "shape"), [("a.dcm", write_dicom, (70, 60)), ("a.nii.gz", write_nifti, (60, 70, 3))]
)
def test_a_file_that_goes_after_it_was_scored_is_not_the_end(score, monkeypatch, tmp_path, name, write, shape):
    gone = write(tmp_path / "in" / name, head(shape))
    write_png(tmp_path / "in/b.png", head((70, 60), 1))
    model = blur_model()
    genuine = model.score

    def going(study):
        result = genuine(study)
        if study.files[0] == gone:
            gone.unlink()
        return result

    monkeypatch.setattr(model, "score", going)
    with pytest.raises(NotScoredError):
        score(tmp_path / "in", model=model)
    first, second = rows_of(tmp_path / "out")
    assert (first["reason"], second["reason"]) == ("result_not_written", "")
    assert first["score"]
    page = (tmp_path / "out/index.html").read_text()
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert [link for link in links if not (tmp_path / "out" / link).exists()] == []


def test_malformed_values_of_the_source_do_not_hinder(score, tmp_path, recwarn):
    odd = {"PatientSex": "female?", "PatientBirthDate": "sometime", "PatientName": "no caret", "StudyDate": "x"}
    write_dicom(tmp_path / "in/x.dcm", head((70, 61)), **odd)  # an odd number of bytes
    score(tmp_path / "in")
    (path,) = (tmp_path / "out/dicom").rglob("*.dcm")
    assert pydicom.dcmread(path).PatientSex == "female?"
    assert not [warning for warning in recwarn if "no caret" in str(warning.message)]


def test_results_are_no_input(score, tmp_path):
    write_png(tmp_path / "x.png", head((70, 60)))
    score(tmp_path, out=tmp_path / "out")
    assert len(score(tmp_path, out=tmp_path / "out")) == 1


def test_the_mask_of_a_scored_file_is_no_study(score, capfd, tmp_path):
    image = write_png(tmp_path / "in/x.png", head((70, 60)))
    mask = write_png(tmp_path / "in/x_mask.png", 255 * ball((70, 60), (35, 30), 5).astype(np.uint8))
    for number, paths in enumerate(([tmp_path / "in"], [image, mask])):
        first, second = score(*paths, out=tmp_path / f"out{number}")
        assert (first["study"], first["reason"]) == (str(image), "")
        assert (second["study"], second["reason"], second["score"]) == (str(mask), "mask_of_another_file", "")
    assert "1 scored, 1 above the threshold\n1 × mask_of_another_file" in capfd.readouterr().err
    (row,) = score(mask, out=tmp_path / "alone")
    assert row["score"]


def test_what_the_site_ignores_is_no_study_though_it_was_one_before(score, tmp_path):
    site = tmp_path / "site.yaml"
    site.write_text(
        "name: A\nanatomy: brain\nmodality: CT\ndata:\n  site: north\n  root: in\n  folder: {ignored: ['masks/**']}\n",
        encoding="utf-8",
    )
    write_png(tmp_path / "in/masks/x.png", head((70, 60)))
    write_png(tmp_path / "in/x.png", head((70, 60), 1))
    assert [row["reason"] for row in score(tmp_path / "in")] == ["", ""]
    ignored, scored = score(tmp_path / "in", site=site)
    assert (ignored["number"], ignored["score"], ignored["reason"]) == ("1", "", "ignored")
    assert scored["score"]
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert re.findall(r"No\. (\d+)</span>", page) == [scored["number"]]
    with pytest.raises(NotScoredError, match="nothing was scored"):
        score(tmp_path / "in/masks/x.png", site=site, out=tmp_path / "alone")


def test_copies_of_a_slice_are_left_aside(score, tmp_path):
    paths = write_series(tmp_path / "in/a", heads(3))
    shutil.copy(paths[1], tmp_path / "in/again.dcm")
    rows = score(tmp_path / "in")
    assert sorted(row["reason"] for row in rows) == ["", "duplicate"]
    assert [row["slices_scored"] for row in rows if row["score"]] == ["3"]


def test_slices_that_were_sent_again_under_new_uids_are_left_aside(score, tmp_path):
    stack = heads(3)
    write_series(tmp_path / "in/a", stack)
    for place, pixels in enumerate(stack):
        write_dicom(tmp_path / f"in/b/{place}", pixels, place * 3.0, number=place + 50)
    rows = score(tmp_path / "in")
    assert sorted(row["reason"] for row in rows) == ["", "duplicate", "duplicate", "duplicate"]
    assert [row["slices_scored"] for row in rows if row["score"]] == ["3"]


def test_no_slice_with_other_pixels_is_taken_for_a_copy(score, tmp_path):
    """One UID in all files, and slices that look alike; and several slices at a place, as in echoes."""
    one = head((70, 60))
    for place in range(3):
        write_dicom(tmp_path / f"one_uid/{place}", one + np.uint16(place), 3.0 * place)
        for echo in range(2):
            pixels, number = head((70, 60), 9 + place + echo), 10 + place + 5 * echo
            write_dicom(tmp_path / f"echoes/{echo}{place}", pixels, 3.0 * place, "1.2.9", number)
    assert [row["slices_scored"] for row in score(tmp_path / "one_uid", out=tmp_path / "x")] == ["3"]
    assert [row["slices_scored"] for row in score(tmp_path / "echoes", out=tmp_path / "y")] == ["3", "3"]


@pytest.mark.parametrize("tag", ["PatientID", "StudyInstanceUID"])
def test_two_patients_or_studies_under_one_series_uid_are_two_volumes(score, tmp_path, tag):
    write_series(tmp_path / "in/a", heads(3))
    for place, pixels in enumerate(heads(6)[3:]):
        write_dicom(tmp_path / f"in/b/{place}", pixels, 3.0 * place + 1, number=place + 50, **{tag: "1.2.77"})
    assert [row["slices_scored"] for row in score(tmp_path / "in")] == ["3", "3"]


def write_frames(path, stack, order):
    """An enhanced CT whose frames lie in the file in another order than in the body, 5 mm apart."""
    from pydicom.sequence import Sequence
    from pydicom.uid import EnhancedCTImageStorage

    ds = pydicom.dcmread(write_dicom(path, stack[0]))
    del ds.PixelSpacing
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.NumberOfFrames = len(order)
    ds.PixelData = stack[order].astype("<u2").tobytes()
    shared, own = pydicom.Dataset(), []
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [pydicom.Dataset()], [pydicom.Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence[0].PixelSpacing = [1, 1]
    for place in order:
        group = pydicom.Dataset()
        group.PlanePositionSequence = [pydicom.Dataset()]
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 5 * place]
        own.append(group)
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(own)
    ds.save_as(path)


def test_frames_of_one_file_are_a_volume_in_their_places(score, monkeypatch, tmp_path):
    from client.score import dicom_output

    order = [2, 0, 1]
    write_frames(tmp_path / "in/x.dcm", heads(3), order)
    read = []
    genuine = dicom_output._source
    monkeypatch.setattr(dicom_output, "_source", lambda *of: read.append(of) or genuine(*of))
    (row,) = score(tmp_path / "in")
    assert len(read) == 1, "the header was read more than once"
    assert row["slices_scored"] == "3"
    for place, path in enumerate(sorted((tmp_path / "out/dicom").rglob("*.dcm"))):
        found = pydicom.dcmread(path)
        assert found.ImagePositionPatient == [0, 0, 5 * place]
        assert found.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
        assert found.PixelSpacing == [1, 1]
        assert found.SourceImageSequence[0].ReferencedFrameNumber == order.index(place) + 1


# --- what a model is for


BRAIN = {"anatomy": "brain", "modality": "MR"}


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "CT"}, "wrong_modality"),
        ({"Modality": "MR", "BodyPartExamined": "KNEE"}, "wrong_body_part"),
        ({"Modality": "MR", "BodyPartExamined": "HEAD", "BurnedInAnnotation": "YES"}, "burned_in_annotation"),
    ],
)
def test_what_the_model_was_not_trained_on_is_refused(score, tmp_path, tags, reason):
    path = write_dicom(tmp_path / "x.dcm", head((70, 60)), **tags)
    with pytest.raises(NotScoredError):
        score(path, model=blur_model(**BRAIN))
    (row,) = rows_of(tmp_path / "out")
    assert row["reason"] == reason
    with pytest.raises(DataError) as caught:
        blur_model(**BRAIN).score(path)
    assert caught.value.code == reason


def test_what_fits_or_says_nothing_is_scored(score, tmp_path):
    write_dicom(tmp_path / "in/a.dcm", head((70, 60)), Modality="MR", BodyPartExamined="HEAD")
    write_dicom(tmp_path / "in/b.dcm", head((70, 60), 1), Modality="OT")
    write_png(tmp_path / "in/c.png", head((70, 60), 2))
    assert [row["reason"] for row in score(tmp_path / "in", model=blur_model(**BRAIN))] == ["", "", ""]


def test_any_part_is_scored_where_it_is_asked_for(tmp_path):
    write_dicom(tmp_path / "x.dcm", head((70, 60)), Modality="CT", BodyPartExamined="KNEE")
    assert blur_model(any_part=True, **BRAIN).score(tmp_path / "x.dcm").score > 0


def test_one_slice_with_burned_in_text_is_refused_by_itself(score, tmp_path):
    paths = write_series(tmp_path / "in", heads(4))
    ds = pydicom.dcmread(paths[2])
    ds.BurnedInAnnotation = "YES"
    ds.save_as(paths[2])
    with pytest.raises(NotScoredError):
        score(tmp_path / "in")
    (row,) = rows_of(tmp_path / "out")
    assert (row["slices_scored"], row["slices_refused"]) == ("3", "burned_in_annotation:1")


def test_the_limits_are_those_of_the_site(score, tmp_path):
    site = tmp_path / "site.yaml"
    site.write_text(
        "name: A\nanatomy: brain\nmodality: CT\ndata:\n  site: north\n"
        "limits:\n  burned_in: true\n  min_side: 10\n  hidden: true\n"
    )
    write_dicom(tmp_path / "in/x.dcm", head((70, 60)), BurnedInAnnotation="YES")
    write_png(tmp_path / "in/.hidden/y.png", head((20, 20)))
    with pytest.raises(NotScoredError):
        score(tmp_path / "in", out=tmp_path / "usual")
    assert [row["reason"] for row in score(tmp_path / "in", site=site)] == ["", ""]


# --- where the map lies


def spot(at, shape=(70, 60)):
    """A bright spot on a smooth dome."""
    centred = [2 * place / (side - 1) - 1 for place, side in zip(np.indices(shape), shape, strict=True)]
    picture = (2000 * (1 - sum(place**2 for place in centred)).clip(0)).astype(np.uint16)
    picture[ball(shape, at, 4)] = 4000
    return picture


def peak(heat):
    """Middle of the highest values."""
    return np.argwhere(heat > 0.9 * heat.max()).mean(axis=0)


def coloured(pixels):
    """Middle of what is neither black, grey nor white."""
    return np.argwhere(np.ptp(pixels.astype(int), axis=2) > 60).mean(axis=0)


def near(one, other):
    return np.abs(np.subtract(one, other)).max() <= 2


def only_capture(folder):
    (path,) = (folder / "out/dicom").rglob("*.dcm")
    return pydicom.dcmread(path)


def test_the_map_of_an_inverted_film_lies_over_the_picture_as_shown(score, tmp_path):
    """MONOCHROME1: small numbers are shown bright, so the spot is stored dark."""
    shown = spot((50, 20))
    write_dicom(tmp_path / "in/x.dcm", 4095 - shown, PhotometricInterpretation="MONOCHROME1")
    result = blur_model().score(tmp_path / "in/x.dcm")
    assert near(peak(result.map), (50, 20))
    assert result.score == pytest.approx(blur_model().score(shown).score, rel=1e-4)
    score(tmp_path / "in", model=blur_model(calibrated=False))
    pixels = only_capture(tmp_path).pixel_array
    assert pixels[35, 30].min() > 80 > pixels[2, 2].max(), "the ground is as bright as a viewer shows it"
    assert near(coloured(pixels), (50, 20))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_map_of_a_turned_photograph_lies_as_viewers_show_it(tmp_path, orientation):
    from PIL import ImageOps

    image = Image.fromarray((spot((50, 20)) // 16).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as file:
        shown = np.asarray(ImageOps.exif_transpose(file))
    found = blur_model().score(tmp_path / "x.png").map
    assert found.shape == shown.shape
    assert near(peak(found), peak(shown))


@pytest.mark.parametrize(
    "directions",
    [[1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, 1, 0], [0, 1, 0, 1, 0, 0], [0, -1, 0, 1, 0, 0], [-1, 0, 0, 0, -1, 0]],
)
def test_the_map_of_a_turned_slice_lies_on_the_grid_that_its_file_stores(score, tmp_path, directions):
    picture = spot((50, 20))
    write_dicom(tmp_path / "in/x.dcm", picture, 0.0, ImageOrientationPatient=directions)
    score(tmp_path / "in", model=blur_model(calibrated=False))
    found = only_capture(tmp_path)
    assert found.ImageOrientationPatient == directions
    assert (found.Rows, found.Columns) == picture.shape
    assert near(coloured(found.pixel_array), (50, 20))


# --- what is said, and what is not


SECRETS = ("Meyer", "4711", "ACC-99", "19500101", "geheim", "secret")


def test_the_terminal_shows_counts_and_codes_only(score, tmp_path, capfd):
    folder = tmp_path / "geheim"
    write_series(folder / "secret_patient", heads(3))
    write_png(folder / "secret.png", head((70, 60)))
    (folder / "secret.dcm").write_bytes(b"secret")
    with pytest.raises(NotScoredError) as caught:
        score(folder)
    said = "".join(capfd.readouterr()) + caught.value.message + caught.value.hint
    assert "2 scored, 2 above the threshold" in said
    assert "1 × not_dicom" in said
    assert [secret for secret in SECRETS if secret in said] == []


def test_nothing_of_the_header_is_in_page_overlay_or_nifti(score, tmp_path):
    write_series(tmp_path / "in/ct", heads(3))
    image = nib.Nifti1Image(as_nifti(heads(3, (70, 61))), np.eye(4))
    image.header["descrip"] = image.header["db_name"] = b"Meyer"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Meyer 4711"))
    nib.save(image, tmp_path / "in/v.nii")
    score(tmp_path / "in")
    for name, content in files_of(tmp_path / "out").items():
        plain = gzip.decompress(content) if name.startswith("nifti/") else content
        if not name.startswith("dicom/"):
            assert [secret for secret in SECRETS[:4] if secret.encode() in plain] == [], name


def test_a_name_that_is_no_utf_8_is_shown_with_escapes(score, tmp_path):
    write_png(tmp_path / os.fsdecode(b"in/caf\xe9.png"), head((70, 60)))
    score(tmp_path / "in")
    assert "/in/caf\\udce9.png</p>" in (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert b"/in/caf\xe9.png," in (tmp_path / "out/scores.csv").read_bytes()


def test_text_of_a_png_does_not_travel(score, tmp_path):
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Patient", "Meyer")
    Image.fromarray(head((70, 60))).save(tmp_path / "x.png", pnginfo=text)
    score(tmp_path / "x.png")
    (path,) = (tmp_path / "out/overlays").iterdir()
    assert b"Meyer" not in path.read_bytes()
    assert Image.open(path).info == {}


def test_the_command(tmp_path):
    """The whole way, with a model from disk."""
    from scorable import new_artifact

    save_artifact(tmp_path / "model", new_artifact(32))
    write_png(tmp_path / "x.png", head((70, 60)))
    arguments = ["--model", tmp_path / "model", "--out", tmp_path / "out", "--threads", "1", tmp_path / "x.png"]
    done = CliRunner().invoke(app, ["score", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    (row,) = rows_of(tmp_path / "out")
    assert row["decision"] == ""
    assert "without a calibration" in (tmp_path / "out/index.html").read_text()


# --- colours


def test_the_colour_scale_is_fixed_by_the_threshold():
    picture = np.full((40, 40), 0.5, np.float32)
    heat = np.zeros((40, 40), np.float32)
    heat[10:20, 10:20] = 2.0
    heat[30, 30] = 9.0
    mixed = blend(picture, heat, ColourScale(3.0, 1.0))
    assert (mixed[0, 0] == 128).all()
    assert (mixed[10, 10:20] == 255).all(), "a white line runs around what is above the threshold"
    alone = np.where(heat == 9, 0, heat).astype(np.float32)
    assert np.array_equal(blend(picture, alone, ColourScale(3.0, 1.0))[15, 15], mixed[15, 15])
    assert not (blend(picture, heat, ColourScale(3.0, None)) == 255).all(axis=2).any()


def test_a_threshold_of_zero_flags_all_that_is_above_it():
    heat = np.array([[0.0, 0.2]], np.float32)
    assert np.array_equal(ColourScale(0.0, 0.0).share(heat), [[0, 1]])


@pytest.mark.parametrize(("shape", "aspect"), [((700, 300), 1.0), ((30, 60), 2.0), ((1, 4000), 1.0)])
def test_overlays_have_one_size_whatever_the_picture(shape, aspect):
    rng = np.random.default_rng(0)
    panel = Panel(rng.random(shape, np.float32), rng.random(shape, np.float32), aspect, "7: 0.1")
    sheet = Image.open(io.BytesIO(draw_overlay([panel, panel], ColourScale(1.0, 0.5))))
    assert max(sheet.size) < 900


# --- what a decision rests on

PROMISE = "calibrated on 40 healthy patients of north, asked 5 %, expected range 1 % to 13 %"


def test_a_decision_says_everywhere_what_it_rests_on(done):
    rows = [row for row in rows_of(done / "out") if row["score"]]
    assert {(row["threshold"], row["decision_note"]) for row in rows} == {("0.01", PROMISE)}
    page = (done / "out/index.html").read_text(encoding="utf-8")
    assert f"<b>Pictures by themselves, above 0.01</b>: {PROMISE}." in page
    assert f"<b>Volumes, above 0.01</b>: {PROMISE}." in page
    for path in (done / "out/dicom").rglob("*.dcm"):
        told = pydicom.dcmread(path).DerivationDescription
        assert f"above the threshold of 0.01: {PROMISE}" in told
        assert len(told) <= 1024
    (path,) = (done / "out/nifti").iterdir()
    descrip = nib.load(path).header["descrip"].item()
    assert descrip.endswith(b"; above the threshold of 0.01")
    assert len(descrip) < 80


def test_without_a_threshold_the_reason_stands_in_its_place(score, tmp_path):
    write_series(tmp_path / "in/ct", heads(3))
    write_nifti(tmp_path / "in/v.nii.gz", as_nifti(heads(3)))
    rows = score(tmp_path / "in", model=blur_model(kept={"study": promised("study", None)}))
    why = "no decision: not enough patients: 4 of 19 needed"
    assert {(row["decision"], row["threshold"], row["decision_note"]) for row in rows} == {("", "", why)}
    assert f"<b>Volumes</b>: {why}." in (tmp_path / "out/index.html").read_text(encoding="utf-8")
    told = {pydicom.dcmread(path).DerivationDescription for path in (tmp_path / "out/dicom").rglob("*.dcm")}
    assert all(why in text for text in told)
    (path,) = (tmp_path / "out/nifti").iterdir()
    assert nib.load(path).header["descrip"].item() == b"anomaly map, not for diagnosis"


def test_with_no_threshold_at_all_nothing_is_counted_above_one(score, tmp_path, capfd):
    write_png(tmp_path / "in/x.png", head((64, 64)))
    score(tmp_path / "in", model=blur_model(kept={"slice": promised("slice", None), "study": promised("study", None)}))
    assert "1 scored\n" in capfd.readouterr().err
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert "1 study scored; 0 not scored." in page


def test_what_holds_for_one_study_alone_stands_beside_it(score, tmp_path):
    write_series(tmp_path / "in/a", heads(2))
    write_series(tmp_path / "in/b", heads(6)[3:], series="1.2.9", StudyInstanceUID="1.2.9.1")
    two, three = score(tmp_path / "in", model=blur_model(kept={"pictures": (1, 2)}))
    careful = "careful: 3 pictures, and no patient behind the threshold had more than 2"
    assert careful in three["decision_note"]
    assert careful not in two["decision_note"]
    assert (tmp_path / "out/index.html").read_text(encoding="utf-8").count(careful) == 1


def test_a_sites_name_in_any_letters_can_be_written(score, tmp_path):
    write_dicom(tmp_path / "in/x.dcm", head((70, 60)), SpecificCharacterSet=None, PatientName="plain")
    (row,) = score(tmp_path / "in", model=blur_model(kept={"site": "Żółć 北"}))
    assert row["reason"] == ""
    assert "of Żółć 北" in row["decision_note"]
    assert "healthy patients of ?" in only_capture(tmp_path).DerivationDescription


def test_words_stand_below_the_pictures_and_break_into_lines():
    panel = Panel(np.zeros((40, 20), np.float32), np.zeros((40, 20), np.float32), 1.0, "1: 0.5")
    scale = ColourScale(1.0, 0.5)
    plain, short, long = (
        np.asarray(Image.open(io.BytesIO(draw_overlay([panel], scale, words)))) for words in ("", "few", PROMISE * 2)
    )
    assert plain.shape[1] == short.shape[1] == long.shape[1]
    assert plain.shape[0] < short.shape[0] < long.shape[0]
    assert np.array_equal(plain, short[: len(plain)])
    assert (short[len(plain) :] < 128).any()
    assert (long[:, -4:] > 128).all(), "words run over the edge"


def test_what_was_scored_without_a_site_counts_once_it_is_scored_with_one(score, tmp_path, capfd):
    write_png(tmp_path / "in/x.png", head((70, 60)))
    site = tmp_path / "site.yaml"
    site.write_text("name: A\nanatomy: brain\nmodality: CT\ndata:\n  site: north\nstate: state\n")
    (before,) = score(tmp_path / "in")
    assert not list(tmp_path.rglob("????-??-*.json"))
    for _ in range(2):
        assert score(tmp_path / "in", site=site) == [before]
    (month,) = tmp_path.rglob("????-??-*.json")
    assert len(json.loads(month.read_text())["studies"]) == 1
    assert "1 known from before" in capfd.readouterr().err


def test_another_sites_calibration_is_refused_before_anything_is_scored(score, tmp_path):
    write_png(tmp_path / "in/x.png", head((70, 60)))
    site = tmp_path / "site.yaml"
    site.write_text("name: A\nanatomy: brain\nmodality: CT\ndata:\n  site: south\n")
    with pytest.raises(
        ConfigError, match="the calibration is of site 'north', and the site config of 'south'"
    ) as error:
        score(tmp_path / "in", site=site)
    assert "ra-client calibrate" in error.value.hint
    assert not (tmp_path / "out").exists()
    (row,) = score(tmp_path / "in", site=site, model=blur_model(calibrated=False))
    assert (row["reason"], row["decision"]) == ("", "")


def test_a_history_needs_a_site_a_state_folder_and_a_calibration(score, tmp_path, capfd):
    write_png(tmp_path / "in/x.png", head((70, 60)))
    text = "name: A\nanatomy: brain\nmodality: CT\ndata:\n  site: north\n"
    (tmp_path / "bare.yaml").write_text(text)
    (tmp_path / "site.yaml").write_text(f"{text}state: state\n")
    for name, model, lacking in (
        (None, None, "a site config (--site)"),
        ("bare.yaml", None, "a state folder (state)"),
        ("site.yaml", blur_model(calibrated=False), "a calibration"),
    ):
        score(tmp_path / "in", site=name and tmp_path / name, model=model, out=tmp_path / f"out {lacking[:8]}")
        said = capfd.readouterr().err
        assert said.count("no history is kept") == 1
        assert f"that needs {lacking}" in said
    assert not (tmp_path / "state").exists()
    score(tmp_path / "in", site=tmp_path / "site.yaml", out=tmp_path / "kept")
    assert "no history is kept" not in capfd.readouterr().err
    assert len(list((tmp_path / "state/scores").glob("*.json"))) == 1
