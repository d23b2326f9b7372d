"""Each layout, made up small: what is healthy, what is not, who is who, and what is left aside."""

from collections import Counter
from pathlib import Path

import miniatures
import numpy as np
import PIL.Image
import pytest

from client.site import survey
from ra_core.config import PreprocessingConfig, SiteConfig
from ra_core.data import Box, Manifest, parse_boxes
from ra_core.errors import DataError
from ra_core.settings import load_config
from simulation.importers import PUBLIC_SETS
from simulation.importers.write import import_set

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).resolve().parents[3] / "site_configs" / "paper"
SMALL = PreprocessingConfig(size=64, slices=(0.5, 0.5))


@pytest.fixture(scope="module")
def opened(root):
    """A site's images, as every program opens them."""

    def open_it(name):
        site = load_config(CONFIGS / f"{name}.yaml", SiteConfig)
        found = survey(site, SMALL, root, None)
        assert found.scan.lost == 0
        return found.images(site, SMALL, None)

    return open_it


def test_every_set_has_a_miniature_and_a_site_config():
    assert set(miniatures.SETS) == set(PUBLIC_SETS) == {path.stem for path in CONFIGS.glob("*.yaml")}


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_every_patient_is_in_one_split_and_the_abnormal_ones_are_tested_on(imported, name):
    told, rows = imported[name]
    splits = {
        row.patient_id: {r.split for r in rows.values() if r.patient_id == row.patient_id} for row in rows.values()
    }
    assert told.patients == len(splits)
    assert all(len(found) == 1 for found in splits.values())
    assert {row.split for row in rows.values() if row.label == "anomalous"} <= {"test"}
    assert told.images == Counter((row.split, row.label) for row in rows.values())
    if name != "atlas":
        healthy = Counter(row.split for row in rows.values() if row.label == "healthy")
        assert set(healthy) == {"train", "val", "calibration", "test"}
        assert healthy["train"] > 15
    assert {row.site for row in rows.values()} == {name}


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_every_image_is_read_by_the_sites_config(opened, imported, name):
    _, rows = imported[name]
    images = opened(name)
    assert images.used == images.declared == len(rows)
    for split in (images.train, images.val, images.test):
        if len(split):
            assert split.images(range(len(split))).shape[1:] == (1, 64, 64)


@pytest.mark.parametrize(
    ("name", "file", "bright"),
    [
        ("fastmri", "file_brain_AXT1_201_edema_002.dcm", 0),
        ("grazpedwri", "broken.png", 0),
        ("rsna", "sick.dcm", 0),
    ],
)
def test_boxes_lie_where_the_anomaly_is(opened, name, file, bright):
    test = opened(name).test
    (index,) = [i for i, row in enumerate(test.rows) if Path(row.path).name == file]
    x, place = test.images([index])[0, 0].numpy(), test.boxes([index])[0][bright]
    white = x > 0.9
    assert x[place].mean() > 0.95
    inside = np.zeros_like(white)
    inside[place] = True
    assert (white & ~inside).sum() < 0.2 * inside.sum()


def test_ixi_is_healthy_people_of_one_volume_each(imported):
    told, rows = imported["ixi"]
    assert len(rows) == told.patients == miniatures.HEALTHY
    assert rows["IXI002-Guys-0828-T1.nii.gz"].patient_id == "IXI002"
    assert {row.label for row in rows.values()} == {"healthy"}


def test_ixi_registered_by_clinica_is_taken_whole(tmp_path):
    end = "ses-M00_T1w_space-MNI152NLin2009cSym"
    for name in (f"sub-IXI002_{end}_desc-Crop_res-1x1x1_T1w", f"sub-IXI002_{end}_res-1x1x1_T1w"):
        miniatures.save_volume(tmp_path / "caps" / f"{name}.nii.gz", 1)
    miniatures.save_volume(tmp_path / "caps" / f"sub-IXI012_{end}_desc-Crop_res-1x1x1_T1w.nii.gz", 2)
    miniatures.save_volume(tmp_path / "caps" / "IXI002-Guys-0828-T2.nii.gz", 3)
    told = import_set("ixi", tmp_path / "caps", tmp_path / "ixi.csv")
    names = [Path(row.path).name for row in Manifest.load(tmp_path / "ixi.csv", tmp_path).rows]
    assert names == [f"sub-IXI002_{end}_res-1x1x1_T1w.nii.gz", f"sub-IXI012_{end}_desc-Crop_res-1x1x1_T1w.nii.gz"]
    assert sum(told.left.values()) == 2


def test_two_releases_of_ixi_in_one_folder_are_refused(tmp_path):
    miniatures.save_volume(tmp_path / "ixi" / "IXI002-Guys-0828-T1.nii.gz", 1)
    miniatures.save_volume(tmp_path / "ixi" / "sub-IXI002_ses-M00_T1w.nii.gz", 2)
    with pytest.raises(DataError, match="two T1 volumes of one person"):
        import_set("ixi", tmp_path / "ixi", tmp_path / "ixi.csv")


def test_fastmri_takes_one_slice_of_subjects_whose_state_is_known(imported):
    told, rows = imported["fastmri"]
    assert all(name.endswith("_002.dcm") and "AXT1" in name for name in rows)
    assert sum(row.label == "healthy" for row in rows.values()) == miniatures.HEALTHY
    edema = rows["file_brain_AXT1_201_edema_002.dcm"]
    assert (edema.pathology, edema.patient_id) == ("Edema, Mass", "file_brain_AXT1_201_edema")
    assert parse_boxes(edema.boxes) == (Box(*miniatures.FASTMRI_BOX), Box(2, 3, 10, 12))
    small = rows["file_brain_AXT1_201_small_002.dcm"]
    assert (small.pathology, small.boxes) == ("Small vessel chronic ischemic", "")
    assert len(rows) == miniatures.HEALTHY + 2
    assert told.left == {
        "subjects reviewed whose slices are not here": 1,
        "subjects that were not reviewed": 1,
        "subjects with artefacts alone": 1,
        "subjects with findings on other slices alone": 1,
        "subjects without slice 2": 1,
    }


def test_atlas_is_volumes_with_masks_beside_them(imported, opened):
    told, rows = imported["atlas"]
    assert (len(rows), told.masked) == (5, 5)
    assert told.left == {"no lesion mask beside it, as in the testing part": 2}
    images = opened("atlas")
    assert len(images.test) == 5  # the middle slice, which the mask is on
    assert all(mask.any() for mask in images.test.masks(range(5)))


def test_wrist_films_are_healthy_only_without_a_doubt(imported):
    told, rows = imported["grazpedwri"]
    broken = rows["broken.png"]
    assert (broken.label, broken.pathology) == ("anomalous", "fracture")
    assert parse_boxes(broken.boxes) == (Box(*miniatures.GRAZ_BOX),)
    assert (rows["broken_other_day.png"].label, rows["broken_other_day.png"].split) == ("healthy", "test")
    assert parse_boxes(rows["beyond.png"].boxes)[0].right == 64
    assert rows["beyond.png"].pathology == "metal, periostealreaction"
    assert (rows["cast.png"].label, rows["cast.png"].pathology, rows["cast.png"].boxes) == ("anomalous", "cast", "")
    assert "doubt.png" not in rows
    assert told.left == {
        "films of dataset.csv that are not here": 1,
        "films that dataset.csv doesn't name": 1,
        "films with a doubtful or unseen fracture": 1,
    }
    assert told.notes == ["16 films have no file of boxes, and count as having none"]


def test_chest_films_are_called_after_their_folders(imported):
    told, rows = imported["covid_radiography"]
    assert len(rows) == miniatures.HEALTHY + 7
    assert {row.pathology for row in rows.values()} == {"", "COVID-19", "lung opacity", "viral pneumonia"}
    assert rows["Viral Pneumonia-1.png"].patient_id == "Viral Pneumonia-1"
    assert not any("masks" in row.path for row in rows.values())
    assert "patients are not known" in told.notes[0]


def test_films_of_the_challenge_go_by_the_patient_of_chestxray14(imported):
    told, rows = imported["rsna"]
    assert rows["n0.dcm"].patient_id == rows["n1.dcm"].patient_id == "00000000"
    assert parse_boxes(rows["sick.dcm"].boxes) == (Box(*miniatures.RSNA_BOX), Box(40, 20, 55.5, 50))
    assert (rows["sick_once_healthy.dcm"].label, rows["sick_once_healthy.dcm"].split) == ("healthy", "test")
    assert rows["other.dcm"].pathology == "not normal without opacity"
    assert told.left == {"films with labels that are not here": 1, "films without labels, as in the test part": 1}
    assert told.notes == []


def test_without_the_table_of_patients_each_film_is_one(tmp_path):
    told = import_set("rsna", miniatures.rsna(tmp_path, mapped=False), tmp_path / "rsna.csv")
    assert told.patients == miniatures.HEALTHY + 3
    assert "each film counts as a patient" in told.notes[0]


BREAKS = {
    "no table": (
        "rsna",
        lambda root: (root / "rsna/stage_2_train_labels.csv").unlink(),
        "no file called stage_2_train",
    ),
    "no classes": (
        "rsna",
        lambda root: (root / "rsna/stage_2_detailed_class_info.csv").unlink(),
        "no file called stage",
    ),
    "other classes": (
        "rsna",
        lambda root: miniatures.write_csv(
            root / "rsna/stage_2_detailed_class_info.csv", ["patientId", "class"], [["a", "b"]]
        ),
        "1 classes that the challenge doesn't have",
    ),
    "a table of something else": (
        "rsna",
        lambda root: (root / "rsna/pneumonia-challenge-dataset-mappings_2018.json").write_text('[{"x": 1}]'),
        "can't be read (KeyError)",
    ),
    "no column": (
        "rsna",
        lambda root: miniatures.write_csv(root / "rsna/stage_2_train_labels.csv", ["patientId"], [["a"]]),
        "no column 'Target'",
    ),
    "no number": (
        "fastmri",
        lambda root: miniatures.write_csv(
            root / "fastmri/Annotations/brain.csv",
            miniatures.FASTMRI_COLUMNS,
            [["file_brain_AXT1_202_2020000", 2, "No", "nan", 1, 2, 3, "Mass"]],
        ),
        "a cell that should hold a number doesn't",
    ),
    "no labels": (
        "fastmri",
        lambda root: (root / "fastmri/Annotations/brain.csv").unlink(),
        "no file called brain.csv",
    ),
    "labels twice": (
        "fastmri",
        lambda root: (root / "fastmri/brain.csv").write_bytes(b""),
        "2 files called brain.csv",
    ),
    "no list": (
        "fastmri",
        lambda root: (root / "fastmri/Annotations/brain_file_list.csv").unlink(),
        "no file called brain_file_list.csv",
    ),
    "no boxes": (
        "grazpedwri",
        lambda root: (root / "grazpedwri/folder_structure").rename(root / "elsewhere"),
        "no YOLO boxes",
    ),
    "a class too many": (
        "grazpedwri",
        lambda root: (root / "grazpedwri/folder_structure/yolov5/labels/broken.txt").write_text("9 .5 .5 .1 .1"),
        "not a class of 0 to 8",
    ),
    "a film that is none": (
        "grazpedwri",
        lambda root: next((root / "grazpedwri").glob("*/broken.png")).write_bytes(b"x"),
        "can't be read (UnidentifiedImageError)",
    ),
    "a film twice": (
        "grazpedwri",
        lambda root: PIL.Image.new("L", (40, 40)).save(root / "grazpedwri/broken.png"),
        "two files are called alike",
    ),
    "not UTF-8": (
        "grazpedwri",
        lambda root: (root / "grazpedwri/dataset.csv").write_bytes(b"\xff"),
        "UnicodeDecodeError",
    ),
    "no class": (
        "covid_radiography",
        lambda root: (root / "COVID-19_Radiography_Dataset/COVID/images").rename(root / "elsewhere"),
        "no films in COVID/images",
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_is_not_as_the_authors_give_it_is_told_by_file(tmp_path, case):
    name, damage, reason = BREAKS[case]
    source = miniatures.SETS[name](tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError) as caught:
        import_set(name, source, tmp_path / "manifest.csv")
    assert reason in caught.value.message
    assert caught.value.hint
    assert not list(tmp_path.glob("*manifest.csv*"))
