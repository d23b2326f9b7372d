import csv
import json
import re
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from client.check import page
from client.check.outcome import SITE_ONLY
from client.cli import app, main
from ra_core.data import open_source
from ra_core.data.manifest import COLUMNS
from ra_core.errors import CheckError, ConfigError, DataError, TooFewImagesError

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).resolve().parents[2] / "site_configs"
PLANTED = ("DOE^JANE", "Jänê Döe", "19700101", "<b>MRN-77</b>")
"""A patient id, a folder, a date and a file name that must not get out."""


@pytest.fixture
def folder(tmp_path):
    """A data root of 24 train, 20 val and 10 + 10 test images, and its site config; names hold identities."""
    root = tmp_path / PLANTED[1]
    rng = np.random.default_rng(0)
    rows = []
    parts = (("train", "healthy", 24), ("val", "healthy", 20), ("test", "healthy", 10), ("test", "anomalous", 10))
    for split, label, count in parts:
        for i in range(count):
            path = f"{PLANTED[2]}/{split}/{PLANTED[3].replace('/', '_')}_{label}_{i}.png"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(rng)).save(root / path)
            rows.append([path, "a", "none", "OT", split, label, "", f"{PLANTED[0]}{len(rows)}", "", "", ""])
    return Folder(tmp_path, root, rows)


def picture(rng):
    rows, columns = np.mgrid[:48, :48]
    disc = np.hypot(rows - 24 - rng.uniform(-2, 2), columns - 24 - rng.uniform(-2, 2)) < rng.uniform(15, 18)
    smooth = np.kron(rng.normal(0, 25, (6, 6)), np.ones((8, 8)))
    return (disc * (130 + smooth) + rng.normal(0, 3, (48, 48))).clip(0, 255).astype(np.uint8)


class Folder:
    def __init__(self, base, root, rows):
        self.base, self.root, self.rows = base, root, rows
        self.config = base / "site.yaml"
        self.config.write_text("name: A\nanatomy: none\nmodality: OT\ndata:\n  site: a\n", encoding="utf-8")

    def file(self, index):
        return self.root / self.rows[index][0]

    def run(self, *more):
        with (self.root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([[name for name in COLUMNS if name != "boxes"], *self.rows])
        options = ["--data", str(self.root), "--out", str(self.base / "out"), "--cache", str(self.base / "cache")]
        return CliRunner().invoke(app, ["check", str(self.config), *options, *map(str, more)])

    @property
    def found(self):
        return json.loads((self.base / "out" / "check.json").read_text())

    @property
    def page(self):
        return (self.base / "out" / "check.html").read_text(encoding="utf-8")

    def codes(self, level):
        return {finding["code"] for finding in self.found["findings"] if finding["level"] == level}


def test_a_good_site_may_join(folder):
    (folder.base / "study.yaml").write_text("evaluation: {image_fpr: 0.3}\n")
    result = folder.run("--study", folder.base / "study.yaml")
    assert result.exit_code == 0, result.output
    assert folder.found["may_join"] is True
    assert folder.codes("error") == folder.codes("warning") == set()
    counts = folder.found["counts"]
    assert (counts["declared"], counts["read"], counts["pictures"], counts["patients"]) == (64, 64, 64, 64)
    assert "may join" in result.output
    assert result.stdout.splitlines()[-1].endswith("check.html")


def test_a_site_with_faults_may_not_join_and_says_why_in_codes(folder):
    for index in range(3):
        folder.file(index).write_bytes(folder.file(index).read_bytes()[:-200])
    result = folder.run()
    assert isinstance(result.exception, CheckError)
    assert "too_many_lost" in result.exception.message
    assert folder.found["may_join"] is False
    (finding,) = [finding for finding in folder.found["findings"] if finding["code"] == "too_many_lost"]
    assert [mention["path"] for mention in finding["files"]] == [folder.rows[index][0] for index in range(3)]
    assert folder.found["counts"]["skipped"] == {"truncated": 3}
    assert folder.found["counts"]["declared"] == 64
    assert folder.found["counts"]["read"] == 61


def test_the_program_ends_with_18(folder, monkeypatch, capfd):
    folder.rows = folder.rows[20:]
    folder.run()
    monkeypatch.setattr(sys, "argv", ["ra-client", "check", str(folder.config), "--data", str(folder.root)])
    monkeypatch.chdir(folder.base)
    monkeypatch.setenv("RA_CACHE", str(folder.base / "cache"))
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 18
    assert "may not join: too_few" in capfd.readouterr().err
    assert (folder.base / "check-a" / "check.html").exists()


def test_the_folder_of_state_is_where_the_page_goes_unless_told(folder):
    text = folder.config.read_text(encoding="utf-8")
    folder.config.write_text(f"{text}state: state\n", encoding="utf-8")
    folder.run()
    options = ["--data", str(folder.root), "--cache", str(folder.base / "cache")]
    CliRunner().invoke(app, ["check", str(folder.config), *options])
    assert (folder.base / "state" / "check.json").exists()


def test_names_and_patients_stay_in_site_only_files_that_only_their_owner_reads(folder):
    Image.fromarray(np.full((48, 48), 9, np.uint8)).save(folder.file(0))
    folder.file(1).write_bytes(b"")
    profile = folder.base / "profile.json"
    result = folder.run("--write-profile", profile)
    outside = result.output.replace(str(folder.base), "") + str(result.exception) + profile.read_text()
    for name in (*PLANTED, "MRN-77", "_healthy_", ".png"):
        assert name not in outside
    assert PLANTED[0] not in folder.page + json.dumps(folder.found)  # patients are told by number, even at the site
    for file in ("check.html", "check.json"):
        assert stat.S_IMODE((folder.base / "out" / file).stat().st_mode) == 0o600
    assert SITE_ONLY in folder.page
    assert folder.found["site_only"] == SITE_ONLY


def test_the_page_needs_no_other_file_and_escapes_names(folder):
    folder.run()
    page = folder.page
    assert not re.findall(r"""(?:src|href)=["'](?!data:image/png;base64,|#)""", page)
    assert "<script" not in page
    assert "<b>MRN" not in page
    assert "&lt;b&gt;MRN-77" in page
    assert page.count("<img") == sum(
        len(finding["files"]) for finding in folder.found["findings"] if finding["code"] == "least_typical_healthy"
    )


def test_pairs_are_shown_side_by_side_and_unreadable_files_by_name(folder):
    near = np.asarray(Image.open(folder.file(0))).astype(float) * 0.8 + 5
    Image.fromarray(near.astype(np.uint8)).save(folder.file(50))
    folder.file(2).write_bytes(b"no picture")
    folder.run()
    assert "near_copies_across_splits" in folder.codes("warning")
    assert 'class="pictures pairs"' in folder.page
    assert folder.page.count('class="files"') >= 1


def test_the_same_folder_gives_the_same_bytes(folder):
    folder.run()
    first = folder.page, folder.found
    folder.rows.reverse()
    folder.run()
    assert (folder.page, folder.found) == first


def test_a_profile_of_the_consortium_is_compared_with(folder):
    profile = folder.base / "profile.json"
    folder.run("--write-profile", profile)
    assert folder.run("--profile", profile).exit_code == 0
    for index in range(len(folder.rows)):
        pixels = np.asarray(Image.open(folder.file(index)))
        Image.fromarray(np.pad(pixels, ((0, 0), (0, 400)))).save(folder.file(index))
    folder.run("--profile", profile)
    assert "site_unlike_consortium" in folder.codes("warning")
    assert "unlike_consortium" in folder.codes("warning")


def test_profiles_of_several_sites_are_merged(folder):
    one, other = folder.base / "one.json", folder.base / "other.json"
    folder.run("--write-profile", one)
    told = json.loads(one.read_text())
    told["statistics"]["mean"]["median"] += 0.9
    other.write_text(json.dumps(told))
    assert folder.run("--profile", other).exit_code == 0
    assert "site_unlike_consortium" in folder.codes("warning")
    assert folder.run("--profile", one, "--profile", other).exit_code == 0
    assert "site_unlike_consortium" not in folder.codes("warning")
    other.write_text(json.dumps(told | {"modality": "CT"}))
    assert isinstance(folder.run("--profile", one, "--profile", other).exception, ConfigError)


def test_masks_that_cannot_be_used_forbid_joining(folder):
    anomalous = next(index for index, row in enumerate(folder.rows) if row[5] == "anomalous")
    Image.fromarray(np.full((9, 9), 255, np.uint8)).save(folder.root / "mask.png")
    folder.rows[anomalous][10] = "mask.png"
    result = folder.run()
    assert isinstance(result.exception, CheckError)
    assert "mask_other_grid" in folder.codes("error")
    assert "mask.png" not in result.output + str(result.exception)


def test_a_broken_manifest_is_told_without_a_name(folder, monkeypatch, capfd):
    folder.rows[3][0] = folder.rows[3][0].replace(".png", "_gone.png")
    folder.rows[4][4] = PLANTED[0]
    folder.run()
    monkeypatch.setattr(sys, "argv", ["ra-client", "check", str(folder.config), "--data", str(folder.root)])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capfd.readouterr().err.replace(str(folder.root), "")
    assert stopped.value.code == 12
    assert "line 5: path: no such file (and 1 more)" in told
    assert not any(name in told for name in (*PLANTED, "_gone", "_healthy_"))


def test_an_image_that_is_gone_when_the_page_is_written_is_told_by_its_code(folder, monkeypatch):
    def gone(*_):
        raise DataError(f"{PLANTED[3]}: no such file", "", "missing")

    monkeypatch.setattr("client.check.page.open_source", gone)
    error = folder.run().exception
    assert isinstance(error, DataError)
    assert "(missing)" in error.message
    assert PLANTED[3] not in error.message


def test_the_page_opens_a_file_once_and_decodes_a_picture_once(folder, monkeypatch):
    near = np.asarray(Image.open(folder.file(0))).astype(float) * 0.8 + 5
    for index in (50, 51):  # both are like the first, and copies of each other but for a pixel
        near[0, 0] = index
        Image.fromarray(near.astype(np.uint8)).save(folder.file(index))
    opened, drawn = [], []
    monkeypatch.setattr(page, "open_source", lambda path, *more: opened.append(path) or open_source(path, *more))
    monkeypatch.setattr(page, "_png", lambda pixels: drawn.append(1) or f"picture {len(drawn)}")
    folder.run()
    shown = re.findall(r"base64,(picture \d+)", folder.page)
    assert len(shown) > len(set(shown)) == len(drawn) == len(opened) == len(set(opened))


def test_a_profile_of_other_images_is_refused(folder):
    profile = folder.base / "profile.json"
    folder.run("--write-profile", profile)
    study = folder.base / "study.yaml"
    study.write_text("preprocessing: {size: 64}\n", encoding="utf-8")
    result = folder.run("--profile", profile, "--study", study)
    assert isinstance(result.exception, ConfigError)
    assert "preprocessing" in result.exception.message


def test_few_patients_make_no_profile(folder):
    for row in folder.rows:
        row[7] = f"{row[4]}{row[5]}"
    result = folder.run("--write-profile", folder.base / "profile.json")
    assert isinstance(result.exception, TooFewImagesError)
    assert not (folder.base / "profile.json").exists()


def test_files_that_the_manifest_does_not_name_are_only_counted(folder):
    Image.fromarray(picture(np.random.default_rng(9))).save(folder.root / "stray.png")
    (folder.root / "notes.txt").write_text("x")
    folder.run()
    assert folder.found["counts"]["unnamed"] == 2
    assert folder.found["counts"]["declared"] == 64


def test_a_folder_with_rules_is_checked_without_a_manifest(folder):
    folder.config.write_text(
        "name: A\nanatomy: none\nmodality: OT\ndata:\n  site: a\n  folder:\n    healthy: ['**/*_healthy_*']\n"
        "    anomalous: ['**/*_anomalous_*']\n    ignored: ['**/*_mask.png']\n    patient: file\n"
        "    train: ['**/train/**']\n    val: ['**/val/**']\n    test: ['**/test/**']\n",
        encoding="utf-8",
    )
    Image.fromarray(picture(np.random.default_rng(9))).save(folder.root / "test_anomalous_0_mask.png")
    result = folder.run()
    assert result.exit_code == 0, result.output
    assert folder.found["counts"]["by_part"] == {
        "test anomalous": 10,
        "test healthy": 10,
        "train healthy": 24,
        "val healthy": 20,
    }
    assert folder.found["counts"]["unnamed"] is None
    assert folder.found["counts"]["skipped"] == {"ignored": 1, "not_listed": 1}  # the manifest itself


@pytest.fixture(scope="module")
def br35h(shared, tmp_path_factory):
    base = tmp_path_factory.mktemp("br35h")
    options = ["--data", str(shared / "data"), "--out", str(base), "--cache", str(base / "cache")]
    result = CliRunner().invoke(app, ["check", str(CONFIGS / "br35h.yaml"), *options])
    assert result.exit_code == 0, result.output
    return json.loads((base / "check.json").read_text())


def test_br35h_has_near_copies_across_its_splits(br35h):
    (finding,) = [finding for finding in br35h["findings"] if finding["code"] == "near_copies_across_splits"]
    # 43 by plain greys; the others were exported again with other contrast
    assert "54 of 120 healthy test images like one in train or val" in finding["message"]


def test_br35h_has_a_brightness_shortcut(br35h):
    (finding,) = [finding for finding in br35h["findings"] if finding["code"] == "shortcut"]
    assert "mean (AUROC 0.10," in finding["message"]
    assert "sharpness (AUROC 0.03," in finding["message"]


def test_the_config_of_br35h_warns_of_what_is_found():
    text = (CONFIGS / "br35h.yaml").read_text(encoding="utf-8")
    assert "Of 120 healthy test slices 54" in text
    assert "AUROC 0.10 and 0.03" in text
