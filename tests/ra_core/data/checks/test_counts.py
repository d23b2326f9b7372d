import pytest

from ra_core.data.checks import Code, Counts, Level
from ra_core.data.checks.counts import check_reading
from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Note
from ra_core.data.scan.records import Scan, Series


def only(findings, code):
    (finding,) = [finding for finding in findings if finding.code == code]
    return finding


@pytest.mark.parametrize(("lost", "code", "level"), [(2, Code.LOST, "warning"), (3, Code.TOO_MANY_LOST, "error")])
def test_a_share_above_the_limit_is_an_error_and_a_smaller_one_a_warning(made, lost, code, level):
    made.add(98).refuse(lost, Reason.TRUNCATED).refuse(50, Reason.NOT_AN_IMAGE)
    (finding,) = [f for f in check_reading(made.scan, max_lost=0.02) if f.code in {Code.LOST, Code.TOO_MANY_LOST}]
    assert (finding.code, finding.level) == (code, level)
    assert f"{lost} of {98 + lost} images" in finding.message
    assert f"truncated {lost}" in finding.message
    assert [mention.path for mention in finding.files] == [e.path for e in made.scan.entries if e.reason == "truncated"]


def test_what_belongs_to_an_export_is_told_and_is_no_loss(made):
    made.add(3).refuse(2, Reason.DUPLICATE).refuse(5, Reason.LOCALIZER)
    (finding,) = check_reading(made.scan, max_lost=0)
    assert (finding.code, finding.level) == (Code.LEFT_ASIDE, Level.INFO)
    assert finding.message.endswith("localizer 5, duplicate 2")
    assert len(finding.files) == 7


def test_a_folder_without_a_usable_file_is_an_error(made):
    found = list(check_reading(made.refuse(4, Reason.NOT_AN_IMAGE).scan, max_lost=1))
    assert only(found, Code.NOTHING_READ).level == Level.ERROR


def test_empty_slices_are_counted_apart_from_files(made):
    made.add(2, skipped=((Reason.EMPTY_SLICE, 7),))
    (finding,) = check_reading(made.scan, max_lost=0)
    assert finding.message == "14 slices or frames of files that are used left aside: empty_slice 14"


def test_notes_of_the_readers_are_told_and_doubtful_ones_are_warnings(made):
    made.add(3, notes=(Note.EXTRA_BYTES,)).add(2, notes=(Note.NO_PATIENT_ID,))
    found = list(check_reading(made.scan, max_lost=0))
    doubt = only(found, Code.NO_PATIENT)
    assert doubt.level == Level.WARNING
    assert doubt.message == "2 of 5 files: no_patient_id"
    assert doubt.how_to_fix
    assert only(found, Code.PUT_RIGHT).level == Level.INFO


def test_headers_of_several_modalities_name_the_rare_files_and_no_header_text_in_the_message(made):
    made.add(5, modality="CR").add(1, modality="DOE^JANE")
    finding = only(check_reading(made.scan, max_lost=0), Code.SEVERAL_MODALITIES)
    assert [mention.path for mention in finding.files] == [made.entries[-1].path]
    assert "DOE" not in finding.message


def test_gaps_of_series_are_counted(made):
    made.add(3)
    paths = tuple(entry.path for entry in made.entries)
    scan = Scan(made.scan.root, made.scan.entries, (Series(paths, (1,), False),))
    finding = only(check_reading(scan, max_lost=0), Code.SERIES_GAPS)
    assert [mention.path for mention in finding.files] == [paths[1]]


def test_counts_tell_the_site_in_numbers(site):
    site.refuse(3, Reason.TRUNCATED)
    counts = Counts.of(site.scan, site.pictures, declared=103, unnamed=7)
    assert (counts.declared, counts.read, counts.pictures, counts.patients, counts.unnamed) == (103, 100, 100, 100, 7)
    assert counts.skipped == {"truncated": 3}
    assert counts.by_part == {"test anomalous": 20, "test healthy": 20, "train healthy": 40, "val healthy": 20}
    assert counts.sizes == {"64 × 64": 100}
    assert counts.spacings == {"unknown": 100}


def test_tilt_and_gaps_are_told_of_series_and_of_volumes(made):
    made.add(3).add(frames=4, positions=(0.0, 1.0, 2.0, 5.0)).add(frames=3, positions=(0.0, 1.0, 2.0), tilted=True)
    *series, gapped, tilted = [entry.path for entry in made.entries]
    scan = Scan(made.scan.root, made.scan.entries, (Series(tuple(series), (), True),))
    found = list(check_reading(scan, max_lost=0))
    gap = only(found, Code.SERIES_GAPS)
    assert gap.message.startswith("1 of 3 series and volumes have gaps, 1 in all")
    assert [(mention.path, mention.frame) for mention in gap.files] == [(gapped, 2)]
    tilt = only(found, Code.TILTED)
    assert (tilt.level, tilt.message.split(" series")[0]) == (Level.WARNING, "2 of 3")
    assert [mention.path for mention in tilt.files] == [series[0], tilted]
