from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from dicoms import CT, write_dicom
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scans import save_noise

from client.site import data_root, open_site, survey
from ra_core.config import PreprocessingConfig, SiteConfig, StudyConfig
from ra_core.data.checks import Pictures, check
from ra_core.data.manifest import manifest_bytes
from ra_core.data.readers.refusal import Reason
from ra_core.errors import DataError, ManifestError, TooFewImagesError
from ra_core.settings import load_config

STUDY = PreprocessingConfig(size=64)
RULES = {"patient": "file", "anomalous": ["sick/*"], "train": ["train/*"], "val": ["val/*"], "test": ["test/*"]}
COUNTS = {"train": 30, "val": 5, "test": 3, "sick": 4}


@pytest.fixture
def root(tmp_path):
    for seed, (folder, number) in enumerate((folder, n) for folder, count in COUNTS.items() for n in range(count)):
        save_noise(tmp_path / "root" / folder / f"{number}.png", seed)
    return tmp_path / "root"


def site(limits=None, **data):
    settings = {"name": "X", "anatomy": "none", "modality": "OT", "data": {"site": "x"} | data}
    return SiteConfig.model_validate(settings | {"limits": limits or {}})


def by_manifest(root):
    """The same images named by a manifest."""
    parts = {folder: (folder,) for folder in COUNTS} | {"sick": ("test", "anomalous")}
    paths = (path.relative_to(root) for path in sorted(root.rglob("*.png")))
    return manifest(root, {path.as_posix(): parts[path.parent.name] for path in paths})


def manifest(root, files):
    """A site of these files: split, and label where it is not healthy, by path."""
    kind = {"site": "x", "anatomy": "none", "modality": "OT"}
    rows = [
        kind | {"path": path, "patient_id": path, "split": split, "label": label[0] if label else "healthy"}
        for path, (split, *label) in files.items()
    ]
    (root / "manifest.csv").write_bytes(manifest_bytes(rows))
    return site()


def described(root, how):
    return by_manifest(root) if how == "manifest" else site(folder=RULES)


BOTH = pytest.mark.parametrize("how", ["manifest", "folder"])


@BOTH
def test_a_site_is_opened(root, tiny_study, how):
    images = open_site(described(root, how), tiny_study.preprocessing, root, None)
    assert (len(images.train), len(images.val), len(images.test)) == (30, 5, 7)
    assert (images.declared, images.used) == (42, 42)
    assert [row.label for row in images.test.rows].count("anomalous") == 4
    assert images.test.images([0, 6]).shape == (2, 1, 64, 64)


@BOTH
def test_a_lost_image_is_counted_and_left_out(root, tiny_study, how):
    config = described(root, how).model_copy(update={"limits": site({"max_lost": 0.05}).limits})
    (root / "train" / "7.png").write_bytes(b"")
    images = open_site(config, tiny_study.preprocessing, root, None)
    assert (images.declared, images.used, len(images.train)) == (42, 41, 29)
    images.train.images(range(29))


@BOTH
def test_a_small_rest_is_never_trained_on_unnoticed(root, tiny_study, how):
    config = described(root, how)
    (root / "train" / "7.png").write_bytes((root / "train" / "7.png").read_bytes()[:900])
    (root / "train" / "8.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"lost 2 of 42 images \(1 empty_file, 1 truncated\), .* \(2\.0%\)") as caught:
        open_site(config, tiny_study.preprocessing, root, None)
    assert "7" not in caught.value.message
    assert "check" in caught.value.hint


def test_what_is_left_aside_as_expected_is_not_lost(root, tiny_study):
    for name in ("notes.txt", "train/.DS_Store", "train/a.part", "other/readme.md"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")
    save_noise(root / "train" / "copy.png", 0)
    images = open_site(site(folder=RULES), tiny_study.preprocessing, root, None)
    assert (images.declared, images.used) == (42, 42)


@BOTH
def test_a_second_start_decodes_nothing(root, tmp_path, monkeypatch, how):
    config = described(root, how)
    first = survey(config, STUDY, root, tmp_path / "cache")
    monkeypatch.setattr("ra_core.data.scan.look._pixels", lambda *_: pytest.fail("decoded again"))
    again = survey(config, STUDY, root, tmp_path / "cache")
    assert [entry.path for entry in again.scan.accepted] == [entry.path for entry in first.scan.accepted]
    assert again.rows == first.rows


def test_what_the_scan_saw_of_a_volume_is_not_looked_for_again(tmp_path, monkeypatch):
    voxels = np.random.default_rng(0).integers(1, 99, (40, 40, 6)).astype(np.int16)
    voxels[:, :, [0, 5]] = 0
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    config = manifest(tmp_path, {"a.nii.gz": ("test",)})
    found = survey(config, STUDY, tmp_path, None)
    monkeypatch.setattr("ra_core.data.dataset.open_source", lambda *_: pytest.fail("opened again"))
    assert found.images(config, STUDY, None).test.frames == (1, 2, 3, 4)


@BOTH
def test_progress_is_told_by_file(root, how):
    steps = []
    survey(described(root, how), STUDY, root, None, lambda *step: steps.append(step))
    assert steps[-1][0] == steps[-1][1] == len(steps) >= 42


@pytest.mark.parametrize(("how", "where"), [("manifest", "the manifest"), ("folder", "data.folder")])
def test_too_few_images_are_refused(root, tiny_study, how, where):
    for number in range(2):
        (root / "val" / f"{number}.png").unlink()
    with pytest.raises(TooFewImagesError, match="3 healthy val images") as caught:
        open_site(described(root, how), tiny_study.preprocessing, root, None)
    assert where in caught.value.hint


def test_a_broken_manifest_is_told_before_anything_is_read(root, tiny_study):
    config = by_manifest(root)
    (root / "val" / "0.png").unlink()
    with pytest.raises(ManifestError, match="no such file"):
        open_site(config, tiny_study.preprocessing, root, None)


class TestPaths:
    def write(self, folder, **settings):
        data = {"site": "x", "root": "images"}
        text = {"name": "X", "anatomy": "none", "modality": "OT", "data": data} | settings
        (folder / "site.yaml").write_text(yaml.safe_dump(text))
        return load_config(folder / "site.yaml", SiteConfig)

    def test_paths_are_relative_to_the_config(self, tmp_path):
        server = {"address": "h:1", "ca_certificate": "ca.pem", "private_key": "/keys/own.pem"}
        found = self.write(tmp_path, state="../state", server=server)
        assert found.data.root == tmp_path / "images"
        assert found.state == tmp_path / "../state"
        assert found.server.ca_certificate == tmp_path / "ca.pem"
        assert found.server.private_key == Path("/keys/own.pem")
        assert found.data.manifest == Path("manifest.csv")

    def test_a_given_root_goes_before_the_configs(self, tmp_path):
        found = self.write(tmp_path)
        assert data_root(found, None) == tmp_path / "images"
        assert data_root(found, Path("other")) == Path("other")

    def test_without_a_root_one_is_asked_for(self):
        with pytest.raises(DataError, match="'x' has no data root") as caught:
            data_root(site(), None)
        assert "--data" in caught.value.hint


def noise(seed):
    return np.random.default_rng(seed).integers(0, 4000, (48, 40)).astype(np.uint16)


def save_dicom(path, seed, **tags):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_dicom(path, noise(seed), **{"SOPInstanceUID": f"1.2.{seed + 1}"} | tags)


def found_by_check(found, config):
    """Findings by code, with their level."""
    pictures = Pictures.of(found.scan, found.named)
    findings = check(found.scan, found.named, pictures, config, StudyConfig(preprocessing=STUDY))
    return {str(finding.code): finding for finding in findings}


def used(found):
    return {row.path for row in found.rows}


def in_folders(root, healthy, sick):
    """Twice the same pixels, healthy and anomalous, and two other pictures."""
    for folder, seed in ((healthy, 7), (sick, 7), (healthy, 8), (sick, 9)):
        save_noise(root / folder / f"{seed}.png", seed)
    return site(folder={"patient": "file", "healthy": [f"{healthy}/*"], "anomalous": [f"{sick}/*"]})


class TestCopies:
    @pytest.mark.parametrize(("healthy", "sick"), [("a", "b"), ("b", "a")])
    def test_a_picture_of_both_labels_is_not_used_whatever_the_folders_are_called(self, tmp_path, healthy, sick):
        config = in_folders(tmp_path, healthy, sick)
        save_noise(tmp_path / healthy / "again.png", 7)
        found = survey(config, STUDY, tmp_path, None)
        assert used(found) == {f"{healthy}/8.png", f"{sick}/9.png"}
        assert found.scan.lost_reasons == {Reason.DUPLICATE: 3}
        finding = found_by_check(found, config)["copies_across_labels"]
        assert (finding.level, len(finding.files)) == ("error", 3)
        with pytest.raises(DataError, match="lost 3 of 5 images"):
            found.images(config, STUDY, None)

    @pytest.mark.parametrize("names", [("a.png", "b.png"), ("b.png", "a.png")])
    def test_it_is_so_by_a_manifest_too(self, tmp_path, names):
        healthy, sick = names
        for name, seed in ((healthy, 7), (sick, 7), ("c.png", 8)):
            save_noise(tmp_path / name, seed)
        config = manifest(tmp_path, {healthy: ("train", "healthy"), sick: ("test", "anomalous"), "c.png": ("train",)})
        found = survey(config, STUDY, tmp_path, None)
        assert used(found) == {"c.png"}
        assert found_by_check(found, config)["copies_across_labels"].level == "error"

    @pytest.mark.parametrize("names", [("a.png", "b.png"), ("b.png", "a.png")])
    @pytest.mark.parametrize("how", ["manifest", "folder"])
    def test_of_copies_in_two_splits_the_one_to_train_on_is_used_and_it_is_told(self, tmp_path, names, how):
        train, test = names
        for name, seed in ((train, 7), (test, 7), ("c.png", 8)):
            save_noise(tmp_path / name, seed)
        if how == "manifest":
            config = manifest(tmp_path, {train: ("train",), test: ("test",), "c.png": ("test",)})
        else:
            config = site(folder={"patient": "file", "train": [train], "val": ["none"], "test": [test, "c.png"]})
        found = survey(config, STUDY, tmp_path, None)
        assert used(found) == {train, "c.png"}
        assert found.scan.lost == 0
        finding = found_by_check(found, config)["copies_across_splits"]
        assert (finding.level, {mention.path for mention in finding.files}) == ("warning", {train, test})

    def test_a_copy_of_another_format_is_one(self, tmp_path):
        save_dicom(tmp_path / "a.dcm", 1, Modality="OT")
        Image.fromarray(noise(1)).save(tmp_path / "b.png")
        config = manifest(tmp_path, {"a.dcm": ("val",), "b.png": ("test",)})
        found = survey(config, STUDY, tmp_path, None)
        assert used(found) == {"a.dcm"}
        assert "copies_across_splits" in found_by_check(found, config)

    def test_a_copy_that_tells_no_patient_gives_way(self, tmp_path):
        for number in range(8):
            save_dicom(tmp_path / f"b{number}.dcm", number, Modality="OT", PatientID=f"P{number}")
            Image.fromarray(noise(number)).save(tmp_path / f"a{number}.png")
        config = site(folder={})
        found = survey(config, STUDY, tmp_path, None)
        assert used(found) == {f"b{number}.dcm" for number in range(8)}
        assert "copies_across_splits" not in found_by_check(found, config)


class TestPatients:
    @pytest.mark.parametrize("rule", ["file", "folder:1", r"(?P<patient>\d+)\.dcm"])
    def test_one_patient_of_the_header_is_in_one_split_whatever_the_rule_says(self, tmp_path, rule):
        for number in range(24):
            patient = f"P{number % 2}" if number < 12 else f"Q{number}"
            save_dicom(tmp_path / f"f{number}" / f"{number}.dcm", number, PatientID=patient, Modality="OT")
        config = site(folder={"patient": rule})
        found = survey(config, STUDY, tmp_path, None)
        splits = {}
        for row in found.rows:
            number = int(Path(row.path).stem)
            splits.setdefault(number % 2 if number < 12 else number, set()).add(row.split)
        assert len(found.rows) == 24
        assert all(len(of_patient) == 1 for of_patient in splits.values())
        assert len(set.union(*splits.values())) > 1
        assert "patient_in_two_splits" not in found_by_check(found, config)

    def test_slices_without_a_patient_go_by_their_study(self, tmp_path):
        for number in range(12):
            study = f"1.9.{number % 3}"
            save_dicom(tmp_path / f"{number}.dcm", number, PatientID=None, StudyInstanceUID=study, Modality="OT")
        found = survey(site(folder={"patient": "file"}), STUDY, tmp_path, None)
        splits = {(int(Path(row.path).stem) % 3, row.split) for row in found.rows}
        assert len(splits) == 3

    def test_a_name_for_everybody_is_no_patient(self, tmp_path):
        for number in range(30):
            save_dicom(tmp_path / f"{number}.dcm", number, PatientID="Anonymous", Modality="OT")
        found = survey(site(folder={"patient": "file"}), STUDY, tmp_path, None)
        assert len({row.split for row in found.rows}) > 1

    def test_patterns_that_tear_a_patient_of_the_header_are_refused_without_a_name(self, tmp_path):
        for number, folder in enumerate(("train", "val", "train")):
            save_dicom(tmp_path / folder / f"{number}.dcm", number, PatientID="DOE", Modality="OT")
        config = site(folder={"patient": "file", "train": ["train/*"], "val": ["val/*"]})
        with pytest.raises(ManifestError, match="1 of them, with 3 files") as caught:
            survey(config, STUDY, tmp_path, None)
        assert "DOE" not in caught.value.message + caught.value.hint

    def test_an_abnormal_image_takes_its_patients_healthy_ones_to_test(self, tmp_path):
        for number in range(9):
            folder = "sick" if number == 0 else "well"
            save_dicom(tmp_path / folder / f"{number}.dcm", number, PatientID="P", Modality="OT")
        found = survey(site(folder={"patient": "file", "anomalous": ["sick/*"]}), STUDY, tmp_path, None)
        assert {row.split for row in found.rows} == {"test"}

    def test_a_manifest_that_tears_a_patient_of_the_header_is_an_error(self, tmp_path):
        for number in range(3):
            save_dicom(tmp_path / f"{number}.dcm", number, PatientID="DOE", Modality="OT")
        config = manifest(tmp_path, {"0.dcm": ("train",), "1.dcm": ("train",), "2.dcm": ("test",)})
        finding = found_by_check(survey(config, STUDY, tmp_path, None), config)["patient_in_two_splits"]
        assert (finding.level, len(finding.files)) == ("error", 3)
        assert "DOE" not in str(finding)

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.integers(0, 3), min_size=2, max_size=10))
    def test_any_headers_are_split_by_patient(self, tmp_path_factory, patients):
        root = tmp_path_factory.mktemp("any")
        for number, patient in enumerate(patients):
            save_dicom(root / f"{number}.dcm", number, PatientID=f"P{patient}", Modality="OT")
        found = survey(site(folder={"patient": "file"}), STUDY, root, None)
        of_patient = {(patients[int(Path(row.path).stem)], row.split) for row in found.rows}
        assert len(of_patient) == len(set(patients))


AXIAL, CORONAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]


def ct(path, seed, patient, study, turned=AXIAL, **tags):
    place = {"ImageOrientationPatient": turned, "ImagePositionPatient": [0, seed, seed]}
    series = f"{study}.{1 if turned == AXIAL else 2}"
    ids = {"PatientID": patient, "StudyInstanceUID": study, "SeriesInstanceUID": series}
    return save_dicom(path, seed, **CT | place | ids | tags)


class TestLosses:
    def ct_site(self, **data):
        settings = {"name": "X", "anatomy": "brain", "modality": "CT", "data": {"site": "x"} | data}
        return SiteConfig.model_validate(settings)

    def test_rows_of_another_modality_body_part_or_plane_are_lost(self, tmp_path):
        ct(tmp_path / "good.dcm", 1, "A", "1.1", BodyPartExamined="HEAD")
        ct(tmp_path / "part.dcm", 2, "B", "1.2", BodyPartExamined="HAND")
        ct(tmp_path / "plane.dcm", 3, "A", "1.1", CORONAL)
        ct(tmp_path / "modality.dcm", 4, "C", "1.4", Modality="MR")
        (tmp_path / "notes.txt").write_text("no picture")
        names = ("good.dcm", "part.dcm", "plane.dcm", "modality.dcm", "notes.txt")
        manifest(tmp_path, dict.fromkeys(names, ("test",)))
        found = survey(self.ct_site(), STUDY, tmp_path, None)
        assert used(found) == {"good.dcm"}
        assert found.scan.lost_reasons == dict.fromkeys(
            (Reason.WRONG_BODY_PART, Reason.WRONG_PLANE, Reason.WRONG_MODALITY, Reason.NOT_AN_IMAGE), 1
        )
        with pytest.raises(DataError, match="lost 4 of 5"):
            found.images(self.ct_site(), STUDY, None)

    def test_what_lies_in_an_export_is_no_loss_and_other_images_are(self, tmp_path):
        ct(tmp_path / "good.dcm", 1, "A", "1.1")
        ct(tmp_path / "coronal.dcm", 3, "A", "1.1", CORONAL)
        ct(tmp_path / "localizer.dcm", 4, "A", "1.1", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        (tmp_path / "notes.txt").write_text("notes")
        (tmp_path / ".DS_Store").write_text("x")
        config = self.ct_site(folder={})
        found = survey(config, STUDY, tmp_path, None)
        assert (used(found), found.scan.lost, found.declared) == ({"good.dcm"}, 0, 1)
        assert found.scan.reasons[Reason.WRONG_PLANE] == found.scan.reasons[Reason.LOCALIZER] == 1
        ct(tmp_path / "part.dcm", 5, "B", "1.2", BodyPartExamined="HAND")
        ct(tmp_path / "only_coronal.dcm", 6, "C", "1.3", CORONAL)
        found = survey(config, STUDY, tmp_path, None)
        assert found.scan.lost_reasons == {Reason.WRONG_BODY_PART: 1, Reason.WRONG_PLANE: 1}
        assert found.declared == 3
        assert "too_many_lost" in found_by_check(found, config)

    def test_a_film_that_states_its_orientation_is_used(self, tmp_path):
        ct(tmp_path / "film.dcm", 1, "A", "1.1", CORONAL, Modality="DX", SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1")
        config = SiteConfig.model_validate(
            {"name": "X", "anatomy": "chest", "modality": "CR", "data": {"site": "x", "folder": {}}}
        )
        assert used(survey(config, STUDY, tmp_path, None)) == {"film.dcm"}
