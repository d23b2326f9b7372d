"""What a user does wrong, or the machine: one line of error, one of hint, the exit code of docs/exit_codes.md."""

import csv
import shutil

import pytest
import yaml


@pytest.fixture
def own_data(desk, site_root, tmp_path):
    """Change the manifest's rows; the images stay where they are."""

    def change(alter):
        data = tmp_path / "data"
        shutil.copytree(site_root, data)
        with (data / "manifest.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        kept = alter(rows)
        with (data / "manifest.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(kept)
        return data

    return change


def study(desk, **changes):
    return yaml.safe_load((desk.folder / "study.yaml").read_text()) | changes


def refused(process, code, error, hint):
    """The process said exactly this, last, and ended with this code."""
    assert "Traceback" not in process.stderr
    *_, said, advised = process.stderr.splitlines()
    assert said.startswith("error: "), process.stderr
    assert error in said
    assert advised.startswith("hint: ")
    assert hint in advised
    assert process.code == code


def nothing_written(desk):
    return not desk.out.exists() and not list(desk.folder.rglob(".*"))


def test_an_unknown_key_with_the_one_that_was_meant(desk):
    desk.save("study.yaml", study(desk, trainig={"steps": 3}))
    refused(desk.train(), 10, "study.yaml: unknown key 'trainig'", "'training'")
    assert nothing_written(desk)


def test_a_bad_value(desk):
    desk.save("study.yaml", study(desk, seed=-1))
    refused(desk.train(), 10, "study.yaml: seed: ", "ra-simulate config")
    assert nothing_written(desk)


def test_no_yaml(desk):
    (desk.folder / "study.yaml").write_text("training: [1,\nseed: 2")
    refused(desk.train(), 10, "study.yaml, line 2: not valid YAML", "quotes")


def test_no_such_config(desk):
    (desk.folder / "site.yaml").unlink()
    refused(desk.train(), 10, "site.yaml: no such file", "check the path")


def test_no_such_data_folder(desk):
    process = desk.run("train", "site.yaml", "--data", "nowhere", "--out", "out")
    refused(process, 11, "nowhere: no such folder", "data root")
    assert nothing_written(desk)


def test_no_data_root_given(desk):
    refused(desk.run("train", "site.yaml", "--out", "out"), 11, "no data root", "--data FOLDER")


def test_a_damaged_image(desk, own_data):
    data = own_data(lambda rows: rows)
    (data / "test_healthy_0.png").write_bytes((data / "test_healthy_0.png").read_bytes()[:500])
    refused(desk.train("--data", data), 11, "(1 truncated)", "ra-client check")
    assert nothing_written(desk)


def test_a_site_without_rows_names_those_there_are(desk):
    site = yaml.safe_load((desk.folder / "site.yaml").read_text())
    desk.save("site.yaml", site | {"data": {"site": "elsewhere"}})
    refused(desk.train(), 12, "no row of site 'elsewhere'", "discs")
    assert nothing_written(desk)


def test_a_patient_in_two_splits(desk, own_data):
    def leak(rows):
        rows[-1]["patient_id"] = rows[0]["patient_id"]
        return rows

    refused(desk.train("--data", own_data(leak)), 12, "line 30: the patient is in test here and in train", "one split")
    assert nothing_written(desk)


def test_a_site_with_one_image(desk, own_data):
    refused(desk.train("--data", own_data(lambda rows: rows[:1])), 13, "has 1 healthy train images", "split train")
    assert nothing_written(desk)


def test_a_site_without_test_images(desk, own_data):
    data = own_data(lambda rows: [row for row in rows if row["split"] != "test"])
    refused(desk.train("--data", data), 13, "no test images", "split test")
    assert nothing_written(desk)


def test_no_weights_anywhere_names_the_three_ways(desk, tmp_path):
    desk.save("study.yaml", study(desk, perceptual={}))
    process = desk.with_env(RA_CACHE=str(tmp_path / "empty")).train()
    refused(process, 14, "could not download", "`ra-simulate weights`")
    assert "alexnet-owt-7be5be79.pth" in process.stderr
    assert "`perceptual.weights`" in process.stderr
    assert nothing_written(desk)


def test_damaged_weights(desk, weights_file):
    (desk.folder / "half.pth").write_bytes(weights_file.read_bytes()[:9999])
    desk.save("study.yaml", study(desk, perceptual={"weights": "half.pth"}))
    refused(desk.train(), 14, "half.pth: can't be read", "get the file again")
    assert nothing_written(desk)


def test_training_that_diverges(desk):
    method = {"channels": [4, 8, 8], "latent": 8, "warmup_steps": 10, "warmup_learning_rate": 1e30}
    desk.save("study.yaml", study(desk, method=method))
    refused(desk.train(), 16, "step", "")
    assert desk.files() == [".lock", "run.json"]
    assert desk.record()["status"] == "failed"


def test_a_damaged_checkpoint(desk, finished):
    shutil.copytree(finished.out, desk.out)
    checkpoint = desk.checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    refused(desk.train(), 17, "checkpoint.safetensors: can't be resumed from", "afresh")
    assert desk.files() == finished.files()
    assert checkpoint.stat().st_size == 1000


def test_the_folder_of_another_study(desk, finished):
    shutil.copytree(finished.out, desk.out)
    before = {path: path.read_bytes() for path in desk.out.rglob("*") if path.is_file()}
    refused(desk.train("--seed", "1"), 17, "out: holds a run with another study", "give another --out")
    assert before == {path: path.read_bytes() for path in desk.out.rglob("*") if path.is_file()}


def test_a_record_that_is_none(desk):
    desk.out.mkdir()
    (desk.out / "run.json").write_text("[]")
    refused(desk.train(), 17, "run.json: is no record of a run", "give another --out")
    assert (desk.out / "run.json").read_text() == "[]"


def test_a_folder_that_cannot_be_made(desk):
    desk.out.write_text("a file where the folder should be")
    refused(desk.train(), 1, "out", "rights")
    assert desk.out.read_text() == "a file where the folder should be"


def test_an_unknown_option(desk):
    process = desk.train("--sede", "1")
    assert process.code == 2
    assert "--sede" in process.stderr
    assert "Traceback" not in process.stderr
