import re

import pytest
import yaml
from scans import save_noise
from typer.testing import CliRunner

from client.cli import app
from client.site import survey
from ra_core.config import PreprocessingConfig, SiteConfig
from ra_core.errors import ConfigError, DataError
from ra_core.settings import load_config

NAME = "TESTCASE"


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def fill(root, *paths):
    for seed, path in enumerate(paths):
        save_noise(root / path, seed)


def started(tmp_path, *paths):
    """The config that init writes for a folder with these pictures, and what it prints."""
    fill(tmp_path / "images", *paths)
    printed = run("init", tmp_path / "images", "--out", tmp_path / "site.yaml")
    return load_config(tmp_path / "site.yaml", SiteConfig), printed


def rules(tmp_path, *paths):
    config, printed = started(tmp_path, *paths)
    return config.data.folder, printed


def splits(config):
    found = survey(config, PreprocessingConfig(size=64), config.data.root, None)
    return {row.path: (row.split, row.label) for row in found.rows}


def test_folders_that_name_splits_and_labels_become_rules(tmp_path):
    paths = [
        *(f"Training/NORMAL/{n}.png" for n in range(3)),
        *(f"val/NORMAL/{n}.png" for n in range(2)),
        "test/NORMAL/0.png",
        "test/Non_fractured/1.png",
        "test/PNEUMONIA/2.png",
        "test/other/3.png",
    ]
    config, _ = started(tmp_path, *paths)
    assert config.data.root == tmp_path / "images"
    found = splits(config)
    assert {path: split for path, (split, _) in found.items()} == {
        path: "train" if path.startswith("Training") else path.split("/")[0] for path in paths[:-1]
    }
    assert [path for path, (_, label) in found.items() if label == "anomalous"] == ["test/PNEUMONIA/2.png"]


def test_without_a_val_split_patients_are_drawn_and_test_stays(tmp_path):
    config, printed = started(tmp_path, *(f"train/{n}.png" for n in range(40)), "test/a.png")
    assert "no val split" in printed
    found = {path: split for path, (split, _) in splits(config).items()}
    assert found.pop("test/a.png") == "test"
    assert set(found.values()) == {"train", "val", "calibration"}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        *((name, "healthy") for name in ("healthy", "Normals", "NORMAL_2", "no finding", "Non_fractured", "controls")),
        *((name, "anomalous") for name in ("anomalous", "Abnormal", "tumors", "COVID-19", "fractured", "findings")),
    ],
)
def test_names_of_labels_are_known(tmp_path, name, label):
    found, _ = rules(tmp_path, f"x/{name}/1.png")
    assert getattr(found, label) == (f"**/{name}/**",)


def test_a_plain_folder_is_healthy_and_says_so(tmp_path):
    found, printed = rules(tmp_path, "a.png", "b.png")
    assert (found.healthy, found.anomalous, found.patient) == (("**",), (), "file")
    assert "counts as healthy" in printed
    assert "nothing can be measured" in printed
    assert "each file counts as a patient" in printed


def test_folders_of_patients_are_found(tmp_path):
    found, printed = rules(tmp_path, *(f"healthy/{p}/{n}.png" for p in range(6) for n in range(2)))
    assert (found.patient, found.healthy) == ("folder:2", ("**/healthy/**",))
    assert "level 2" in printed


def test_masks_are_ignored(tmp_path):
    found, printed = rules(tmp_path, "sick/1.png", "sick/1_mask.png", "masks/1.png", "healthy/1.png")
    assert set(found.ignored) == {"**/masks/**", "**/*_mask.*"}
    assert "look like masks" in printed


def test_anatomy_comes_from_folder_names_where_no_header_tells(tmp_path):
    config, printed = started(tmp_path, "head_ct/1.png", "head_ct/2.png")
    assert (config.anatomy, config.modality) == ("brain", "OT")
    assert "set modality" in printed
    assert "check anatomy" in printed


def test_a_folder_without_images_can_still_be_described(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "notes.txt").write_text("x")
    config, printed = started(tmp_path)
    assert (config.anatomy, config.modality) == ("unknown", "OT")
    assert "looked into 1: 1 not_an_image" in printed


@pytest.fixture
def cases(shared):
    folder = shared / "cases" / "imaging"
    if not folder.is_dir():
        pytest.skip("no ../shared/cases/imaging beside this checkout")
    return folder


def test_dicom_headers_tell_modality_anatomy_and_patient(tmp_path, cases):
    run("init", cases / "10_series_geometry", "--out", tmp_path / "site.yaml")
    config = load_config(tmp_path / "site.yaml", SiteConfig)
    assert (config.anatomy, config.modality, config.data.folder.patient) == ("brain", "CT", "dicom")
    assert config.data.root == cases / "10_series_geometry"


@pytest.mark.parametrize("name", ["14_messy_folder", "15_privacy_and_split"])
def test_nothing_from_within_the_folder_is_printed(tmp_path, cases, name):
    printed = run("init", cases / name, "--out", tmp_path / "site.yaml").replace(str(tmp_path), "")
    told = yaml.safe_load((cases / "cases.yaml").read_text())["cases"]
    files = [file["file"] for case in told if case["id"] == name for file in case["files"]]
    parts = {part for file in files for part in re.split(r"[/.]", file) if len(part) > 3 and part != "hidden"}
    forbidden = parts | {word for case in told for word in case.get("forbidden_in_outputs", [])}
    assert not [word for word in forbidden if word in printed]


def test_names_of_folders_and_values_of_manifests_are_not_printed(tmp_path):
    header = "path,site,anatomy,modality,split,label,patient_id"
    fill(tmp_path / "images", f"{NAME}/{NAME}_mask.png", f"healthy {NAME}/1.png")
    printed = run("init", tmp_path / "images", "--out", tmp_path / "a.yaml")
    row = f"{NAME}/{NAME}_mask.png,{NAME},{NAME},{NAME},train,healthy,{NAME}"
    (tmp_path / "images" / "manifest.csv").write_text(f"{header}\n{row}\n")
    printed += run("init", tmp_path / "images", "--out", tmp_path / "b.yaml")
    assert NAME not in printed
    assert NAME in (tmp_path / "a.yaml").read_text()
    assert load_config(tmp_path / "b.yaml", SiteConfig).data.site == NAME


def test_a_broken_manifest_is_told(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "manifest.csv").write_text("nonsense\n")
    config, printed = started(tmp_path)
    assert "the manifest breaks a rule" in printed
    assert config.data.folder is None


def test_the_config_is_its_owners_and_says_that_it_stays(tmp_path):
    started(tmp_path, "a.png")
    text = (tmp_path / "site.yaml").read_text()
    assert (tmp_path / "site.yaml").stat().st_mode & 0o777 == 0o600
    assert text.startswith("# ")
    assert "keep them here" in text


def test_a_root_beside_the_config_is_relative(tmp_path):
    started(tmp_path, "a.png")
    assert yaml.safe_load((tmp_path / "site.yaml").read_text())["data"]["root"] == "images"


def test_a_file_that_is_there_is_kept_without_force(tmp_path):
    started(tmp_path, "a.png")
    with pytest.raises(ConfigError, match="is there already"):
        run("init", tmp_path / "images", "--out", tmp_path / "site.yaml")
    run("init", tmp_path / "images", "--out", tmp_path / "site.yaml", "--force")


def test_a_folder_that_is_none_is_told(tmp_path):
    with pytest.raises(DataError, match="can't be listed"):
        run("init", tmp_path / "none", "--out", tmp_path / "site.yaml")
    assert not (tmp_path / "site.yaml").exists()


def test_config_explains_every_key():
    printed = run("config")
    SiteConfig.model_validate(yaml.safe_load(printed))
    assert all("  # " in line for line in printed.splitlines())


def test_what_may_be_left_out_is_a_comment_that_works_as_it_stands(tmp_path):
    printed = run("config")
    uncommented = re.sub(r"^( *)# ", r"\1", printed, flags=re.MULTILINE)
    for key, value in {"address": "host:1", "signing_key": "own.key"}.items():  # there is no default
        uncommented = uncommented.replace(f"{key}: null", f"{key}: {value}")
    config = SiteConfig.model_validate(yaml.safe_load(uncommented))
    assert config.server.address == "host:1"
    assert config.data.folder.healthy == ("**",)
