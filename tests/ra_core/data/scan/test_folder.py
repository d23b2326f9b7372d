from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scans import entry

from ra_core.config import FolderRules, SiteConfig, SplitShares
from ra_core.data.manifest import COLUMNS
from ra_core.data.scan import Scan, rows_of
from ra_core.data.scan.folder import drawn_split, is_listed
from ra_core.errors import ManifestError

SPLITS = ("train", "val", "calibration", "test")


def site(**rules):
    data = {"site": "x", "folder": rules}
    return SiteConfig.model_validate({"name": "X", "anatomy": "brain", "modality": "MR", "data": data})


def rows(files, **rules):
    """Rows of {path: patient}, by path."""
    scan = Scan(Path("root"), tuple(entry(path, patient=patient) for path, patient in sorted(files.items())))
    own = site(**rules)
    return {row.path: row for row in rows_of(scan, own, own.data.folder)}


def test_a_row_tells_what_the_site_and_the_rules_say():
    row = rows({"sick/1": "p"}, anomalous=["sick/*"])["sick/1"]
    told = {name: getattr(row, name) for name in COLUMNS if getattr(row, name)}
    assert told == {
        "path": "sick/1",
        "site": "x",
        "anatomy": "brain",
        "modality": "MR",
        "split": "test",
        "label": "anomalous",
        "patient_id": "p",
    }


def test_labels_go_by_ignored_then_anomalous_then_healthy():
    rules = {"ignored": ["**/*_mask.png"], "anomalous": ["sick/**"], "healthy": ["**/*.png"]}
    files = {name: name for name in ("sick/a.png", "sick/a_mask.png", "b.png", "b_mask.png", "c.txt")}
    assert {path: row.label for path, row in rows(files, **rules).items()} == {
        "sick/a.png": "anomalous",
        "b.png": "healthy",
    }
    folder = site(**rules).data.folder
    assert {path for path in files if is_listed(path, folder)} == {"sick/a.png", "b.png"}


def test_patterns_say_the_split():
    patterns = {split: [f"{split}/**"] for split in SPLITS}
    files = {f"{split}/{number}": f"{split}{number}" for split in SPLITS for number in range(3)}
    assert all(row.split == path.split("/")[0] for path, row in rows(files, **patterns).items())


def test_with_a_train_pattern_healthy_files_of_no_split_are_not_listed():
    rules = site(train=["train/**"], val=["val/**"], anomalous=["sick/**"]).data.folder
    listed = [path for path in ("train/a", "val/a", "other/a", "sick/a") if is_listed(path, rules)]
    assert listed == ["train/a", "val/a", "sick/a"]


def test_without_a_train_pattern_the_others_are_drawn():
    files = {f"a/{number}": f"a{number}" for number in range(60)} | {"test/1": "t"}
    shares = {"train": 0.5, "val": 0.5, "calibration": 0, "test": 0}
    found = rows(files, test=["test/**"], shares=shares)
    assert Counter(row.split for row in found.values()).keys() == {"train", "val", "test"}
    assert found["test/1"].split == "test"


def test_a_patient_with_an_abnormality_or_a_place_is_there_with_all_images():
    files = {"sick/1": "p", "a/1": "p", "val/1": "q", **{f"a/q{number}": "q" for number in range(9)}}
    found = rows(
        files, anomalous=["sick/**"], val=["val/**"], shares=SplitShares(train=1, val=0, calibration=0, test=0)
    )
    assert found["a/1"].split == "test"
    assert {row.split for row in found.values() if row.patient_id == "q"} == {"val"}


@pytest.mark.parametrize("clash", [{"sick/1": "secret"}, {"val/1": "secret"}])
def test_a_patient_in_two_splits_is_refused_without_a_name(clash):
    files = {"train/1": "secret", "train/2": "secret", "train/3": "other"} | clash
    with pytest.raises(ManifestError, match="1 of them, with 3 files") as caught:
        rows(files, anomalous=["sick/**"], train=["train/**"], val=["val/**"])
    assert "secret" not in caught.value.message + caught.value.hint
    assert caught.value.hint


def test_a_file_in_two_splits_is_refused_without_a_name():
    with pytest.raises(ManifestError, match="a file into train and val") as caught:
        rows({"secret/1": "p"}, train=["**"], val=["secret/**"])
    assert "secret" not in caught.value.message


def test_files_of_unknown_patients_are_refused_without_a_name():
    with pytest.raises(ManifestError, match="patient of 2 files") as caught:
        rows({"secret/1": "", "secret/2": "", "b": "p"})
    assert "secret" not in caught.value.message
    assert "folder:N" in caught.value.hint


PATIENTS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=30, unique=True)


@settings(max_examples=50, deadline=None)
@given(PATIENTS, PATIENTS, st.randoms(use_true_random=False))
def test_the_split_goes_by_patient_and_by_nothing_else(patients, others, chance):
    files = [(f"{number}", patient) for number, patient in enumerate(patients * 2)]
    before = {row.patient_id: row.split for row in rows(dict(files)).values()}
    assert len(set(before)) == len(set(patients))
    renamed = [(f"n{number}", patient) for number, patient in enumerate([*others, *patients])]
    chance.shuffle(renamed)
    after = rows(dict(renamed)).values()
    assert {row.patient_id: row.split for row in after if row.patient_id in before} == before


def test_the_draw_is_the_documented_one():
    # the first 16 digits that sha256sum prints for "federated-ra split", a zero byte and the key, divided by 2^64
    numbers = {"0": 0.267, "4": 0.714, "10": 0.856, "18": 0.988}
    assert [drawn_split(patient, SplitShares()) for patient in numbers] == ["train", "val", "calibration", "test"]


def test_shares_are_kept_on_the_whole():
    shares = SplitShares(train=0.6, val=0.2, calibration=0, test=0.2)
    counts = Counter(drawn_split(str(number), shares) for number in range(5000))
    assert counts["calibration"] == 0
    assert all(abs(counts[split] / 5000 - getattr(shares, split)) < 0.03 for split in SPLITS)


def test_an_undecodable_name_has_its_split():
    assert drawn_split("bad\udcff", SplitShares()) in SPLITS


@pytest.mark.parametrize("rule", ["folder:0", "folder:", "folder:x", "", "header", "(", "(?P<name>x)", "(" * 5000])
def test_a_patient_rule_that_is_none_is_refused(rule):
    with pytest.raises(ValueError, match="none of dicom"):
        FolderRules(patient=rule)


def test_shares_that_are_not_all_are_refused():
    with pytest.raises(ValueError, match=r"add up to 0\.9"):
        SplitShares(train=0.6)
