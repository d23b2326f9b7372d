import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ra_core.config import SiteConfig
from ra_core.errors import DataError
from ra_core.settings import load_config
from simulation.cohort import CohortConfig, HospitalConfig, write_cohort

SHARED = Path(__file__).parents[3] / ".." / "shared" / "data" / "manifest.csv"
COUNTS = {"train": 3, "val": 1, "test_healthy": 2, "test_anomalous": 6}
CONFIG = CohortConfig(
    hospitals=(
        HospitalConfig(name="north", contrast="flair", **COUNTS),
        HospitalConfig(name="south", contrast="ct", **COUNTS),
    ),
    size=64,
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_cohort(CONFIG, tmp_path_factory.mktemp("cohort"))


def _rows(manifest):
    with manifest.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_columns_are_those_of_the_shared_manifest(cohort):
    if not SHARED.exists():
        pytest.skip("no shared data here")
    assert cohort.read_text().splitlines()[0] == SHARED.read_text(encoding="utf-8").splitlines()[0]


def test_counts_labels_and_patients(cohort):
    rows = _rows(cohort)
    assert len(rows) == 2 * sum(COUNTS.values())
    assert len({row["patient_id"] for row in rows}) == len(rows)
    for site, modality in (("north", "MR"), ("south", "CT")):
        groups = [(row["split"], row["label"]) for row in rows if row["site"] == site]
        assert groups.count(("train", "healthy")) == 3
        assert groups.count(("val", "healthy")) == 1
        assert groups.count(("test", "healthy")) == 2
        assert groups.count(("test", "anomalous")) == 6
        assert {row["modality"] for row in rows if row["site"] == site} == {modality}


def test_images_and_masks_are_grey_and_one_bit(cohort):
    for row in _rows(cohort):
        with Image.open(cohort.parent / row["path"]) as image:
            assert (image.mode, image.size, image.format) == ("L", (64, 64), "PNG")
        assert bool(row["lesion_mask"]) == bool(row["pathology"]) == (row["label"] == "anomalous")
        if row["lesion_mask"]:
            with Image.open(cohort.parent / row["lesion_mask"]) as mask:
                assert (mask.mode, mask.size) == ("1", (64, 64))
                assert np.asarray(mask).any()


def test_pathology_says_kind_size_and_strength(cohort):
    kind, strength, size = next(row["pathology"] for row in _rows(cohort) if row["pathology"]).split(", ")
    assert (kind, strength) == ("bright", "strong")
    assert float(size.removesuffix(" cm2")) > 0


def test_site_configs_load(cohort):
    for hospital in CONFIG.hospitals:
        site = load_config(cohort.parent / "site_configs" / f"{hospital.name}.yaml", SiteConfig)
        assert site.name == site.data.site == hospital.name
        assert (cohort.parent / site.data.manifest).exists()


def test_same_config_same_bytes(cohort, tmp_path):
    write_cohort(CONFIG, tmp_path / "again")
    assert _files(tmp_path / "again") == _files(cohort.parent)


def test_fewer_patients_same_images(cohort, tmp_path):
    small = HospitalConfig(name="south", contrast="ct", train=1, val=1, test_healthy=0, test_anomalous=2)
    write_cohort(CohortConfig(hospitals=(small,), size=64), tmp_path / "small")
    images = {path: data for path, data in _files(tmp_path / "small").items() if path.suffix == ".png"}
    assert len(images) == 6
    assert images.items() <= _files(cohort.parent).items()


def test_progress_counts_patients(tmp_path):
    hospital = HospitalConfig(name="a", contrast="t2", train=2, val=1, test_healthy=0, test_anomalous=0)
    seen = []
    write_cohort(CohortConfig(hospitals=(hospital,), size=64), tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupted_cohort_leaves_nothing(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort(CONFIG, tmp_path / "new" / "cohort", interrupt)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_in_use_is_refused(cohort):
    with pytest.raises(DataError, match="not an empty folder") as caught:
        write_cohort(CONFIG, cohort.parent)
    assert caught.value.hint
