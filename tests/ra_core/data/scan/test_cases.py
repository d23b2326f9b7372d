"""Cases 10, 14 and 15 of ../shared/cases/imaging: what a folder as hospitals have it becomes."""

import importlib.util
import logging
import shutil

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ra_core.config import LimitsConfig, PreprocessingConfig, SiteConfig
from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Note
from ra_core.data.scan import ScanRules, rows_of, scan
from ra_core.errors import ManifestError

STUDY = PreprocessingConfig(size=64)
SITE = {"name": "X", "anatomy": "chest", "modality": "CR", "data": {"site": "x", "folder": {}}}
BY_NAME = r"(?P<patient>TEST-P\d+)"


@pytest.fixture(scope="module")
def cases(shared):
    folder = shared / "cases" / "imaging"
    if not folder.is_dir():
        pytest.skip("no ../shared/cases/imaging beside this checkout")
    return folder


@pytest.fixture(scope="module")
def case(cases):
    """The folder of a case, and what `cases.yaml` says of it."""
    told = yaml.safe_load((cases / "cases.yaml").read_text(encoding="utf-8"))["cases"]

    def find(number):
        (found,) = (case for case in told if case["id"].startswith(number))
        return cases / found["id"], found

    return find


def site(**folder):
    return SiteConfig.model_validate(SITE | {"data": {"site": "x", "folder": folder}})


def scanned(folder, anatomy="chest", modality="CR", **limits):
    return scan(folder, ScanRules(LimitsConfig(**limits), anatomy, modality), STUDY)


def rows(found, own):
    return rows_of(found, own, own.data.folder)


def splits_of_used(folder, own):
    found = scan(folder, ScanRules.of(own), STUDY)
    used = {entry.path for entry in found.accepted}
    return {row.patient_id: row.split for row in rows(found, own) if row.path in used}


def agrees(found, told):
    """Every file is accepted or skipped as the case says, with its reason."""
    entries = {entry.path: entry for entry in found.entries}
    for file in told["files"]:
        entry = entries[file["file"]]
        if entry.accepted:
            assert file["outcome"] != "skip", file["file"]
        else:
            assert file["outcome"] != "accept", (file["file"], entry.reason, entry.message)
            assert entry.reason == file["reason"], file["file"]
    if "counts" in told:
        assert len(found.accepted) == told["counts"]["accept"]
        assert found.reasons.total() == told["counts"]["skip"]
        assert found.lost == told["counts"]["error"]


class TestSeries:
    @pytest.fixture
    def found(self, case):
        folder, told = case("10")
        return scanned(folder, "brain", "CT"), told

    def test_each_scan_counts_once(self, found):
        agrees(*found)

    def test_series_are_told_apart_and_ordered_by_position(self, found):
        series, told = found[0].series, found[1]
        assert len(series) == told["counts"]["series"]
        places = {path: place for one in series for place, path in enumerate(one.paths)}
        expected = {
            file["file"]: file["expect"]["position"] for file in told["files"] if "position" in file.get("expect", {})
        }
        assert places == expected

    def test_the_gap_and_the_tilt_are_reported(self, found):
        first, second = found[0].series
        assert (first.gaps, first.tilted) == ((3,), False)
        assert (second.gaps, second.tilted) == ((), True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 9211), st.integers(0, 255))
def test_a_slice_cut_or_spoilt_anywhere_is_an_entry(case, tmp_path, place, byte):
    content = (case("10")[0] / "IM7.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[:place])
    (tmp_path / "spoilt.dcm").write_bytes(content[:place] + bytes([byte]) + content[place + 1 :])
    cut, _ = scanned(tmp_path, "brain", "CT").entries
    assert cut.reason is not None
    assert cut.message


class TestMessyFolder:
    def test_every_file_has_its_outcome(self, case):
        folder, told = case("14")
        found = scanned(folder)
        agrees(found, told)
        paths = [entry.path for entry in found.entries]
        assert paths == sorted(paths)

    def test_hidden_files_are_read_when_asked(self, case):
        folder, _ = case("14")
        found = {entry.path: entry for entry in scanned(folder, hidden=True).entries}
        assert found[".hidden/scan.dcm"].accepted
        assert found["._SCAN1.DCM"].reason == found["Thumbs.db"].reason == Reason.SYSTEM_FILE

    def test_what_git_cannot_keep(self, cases, tmp_path):
        spec = importlib.util.spec_from_file_location("make_cases", cases / "make_cases.py")
        make_cases = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(make_cases)
        root = tmp_path / "live"
        make_cases.build_live(root)
        (root / "closed").chmod(0o700)  # locks nobody out who is root; tests of the walk do it for all
        (root / "locked.dcm").chmod(0o600)
        found = scanned(root)
        assert {entry.path: entry.reason for entry in found.entries if not entry.accepted} == {
            "loop": Reason.DUPLICATE,
            "again.dcm": Reason.DUPLICATE,
            "gone.dcm": Reason.MISSING,
            "away": Reason.OUTSIDE_ROOT,
            "pipe.dcm": Reason.NOT_A_FILE,
        }
        names = {entry.path for entry in found.accepted}
        assert len(names) == 12
        assert {"-rf.dcm", "bad\udcff.dcm", "Case.dcm", "case.dcm", "x" * 200 + ".dcm"} < names
        assert len(rows(found, site())) == 12

    def test_a_locked_file_is_one_line(self, case, tmp_path, monkeypatch):
        folder, _ = case("14")
        shutil.copytree(folder / "a", tmp_path / "a")
        (tmp_path / "b").mkdir()
        shutil.copy(folder / "SCAN1.DCM", tmp_path / "b")
        opened = type(tmp_path).open

        def locked(path, *arguments, **options):
            if path.name == "scan.dcm":
                raise PermissionError(path)
            return opened(path, *arguments, **options)

        monkeypatch.setattr(type(tmp_path), "open", locked)
        found = scanned(tmp_path)
        assert [(entry.path, entry.reason) for entry in found.entries] == [
            ("a/scan.dcm", Reason.NO_ACCESS),
            ("b/SCAN1.DCM", None),
        ]
        assert found.lost_share == 0.5


class TestPrivacy:
    def test_every_file_has_its_outcome_and_its_note(self, case):
        folder, told = case("15")
        found = scanned(folder)
        agrees(found, told)
        notes = {entry.path: entry.notes for entry in found.entries}
        assert Note.NO_PATIENT_ID in notes["no_id.dcm"]
        assert Note.SECONDARY_CAPTURE in notes["burned_no_flag.dcm"]

    def test_burned_in_text_is_used_when_allowed(self, case):
        folder, _ = case("15")
        found = {entry.path: entry for entry in scanned(folder, burned_in=True).entries}
        assert found["burned_flag.dcm"].accepted

    def test_images_of_one_group_are_one_patient(self, case):
        folder, told = case("15")
        own = site(patient=BY_NAME)
        scanned = scan(folder, ScanRules.of(own), STUDY)
        used = {entry.path for entry in scanned.accepted}
        found = [row for row in rows(scanned, own) if row.path in used]
        groups = {file["file"]: file["expect"]["group"] for file in told["files"] if "expect" in file}
        pairs = {(groups[row.path], row.patient_id) for row in found}
        assert len(pairs) == len({group for group, _ in pairs}) == len({patient for _, patient in pairs})
        of_group = {(groups[row.path], row.split) for row in found}
        assert len(of_group) == len({group for group, _ in of_group})

    def test_the_split_is_stable_under_other_names_order_and_files(self, case, tmp_path):
        folder, _ = case("15")
        own = site(patient=BY_NAME)
        before = splits_of_used(folder, own)
        for number, file in enumerate(sorted(folder.iterdir(), reverse=True)):
            name = f"{number}_{file.name}" if "P006" in file.name else f"{number}.dcm"
            shutil.copy(file, tmp_path / name)
        (tmp_path / "9.dcm").unlink()
        after = splits_of_used(tmp_path, own)
        both = before.keys() & after.keys()  # of a picture under two patients, the first file's counts
        assert len(both) >= 4
        assert all(before[patient] == after[patient] for patient in both)

    def test_without_a_rule_for_pictures_their_patients_are_asked_for(self, case):
        folder, told = case("15")
        with pytest.raises(ManifestError, match="patient of 2 files") as caught:
            rows(scanned(folder), site())
        text = caught.value.message + caught.value.hint
        assert not any(word in text for word in told["forbidden_in_outputs"])

    def test_nothing_of_a_patient_is_printed_logged_or_cached(self, case, tmp_path, capfd, caplog, recwarn):
        folder, told = case("15")
        caplog.set_level(logging.DEBUG)
        found = scan(folder, ScanRules(), STUDY, cache=tmp_path)
        (cached,) = (path for path in tmp_path.rglob("*") if path.is_file())
        printed = capfd.readouterr()
        texts = [printed.out, printed.err, caplog.text, cached.name, cached.read_text(), repr(found)]
        texts += [str(warning.message) for warning in recwarn] + [entry.message for entry in found.entries]
        for text in texts:
            assert not any(word in text for word in told["forbidden_in_outputs"]), text
            assert "p1_first" not in text
