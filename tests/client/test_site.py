import csv
from pathlib import Path

import pytest
import yaml
from scans import save_noise

from client.site import data_root, open_site, survey
from ra_core.config import PreprocessingConfig, SiteConfig
from ra_core.data.manifest import COLUMNS
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
    rows = []
    for path in sorted(root.rglob("*.png")):
        sick = path.parent.name == "sick"
        row = dict.fromkeys(COLUMNS, "") | {
            "path": path.relative_to(root).as_posix(),
            "patient_id": path.stem + path.parent.name,
        }
        row |= {"split": "test" if sick else path.parent.name, "label": "anomalous" if sick else "healthy"}
        rows.append(row | {"site": "x", "anatomy": "none", "modality": "OT"})
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return site()


def described(root, how):
    return by_manifest(root) if how == "manifest" else site(folder=RULES)


BOTH = pytest.mark.parametrize("how", ["manifest", "folder"])


@BOTH
def test_a_site_is_opened(root, tiny_study, how):
    images = open_site(described(root, how), tiny_study, root, None)
    assert (len(images.train), len(images.val), len(images.test)) == (30, 5, 7)
    assert (images.declared, images.used) == (42, 42)
    assert [row.label for row in images.test.rows].count("anomalous") == 4
    assert images.test.images([0, 6]).shape == (2, 1, 64, 64)


@BOTH
def test_a_lost_image_is_counted_and_left_out(root, tiny_study, how):
    config = described(root, how).model_copy(update={"limits": site({"max_lost": 0.05}).limits})
    (root / "train" / "7.png").write_bytes(b"")
    images = open_site(config, tiny_study, root, None)
    assert (images.declared, images.used, len(images.train)) == (42, 41, 29)
    images.train.images(range(29))


@BOTH
def test_a_small_rest_is_never_trained_on_unnoticed(root, tiny_study, how):
    config = described(root, how)
    (root / "train" / "secret.png").write_bytes(b"")
    (root / "train" / "7.png").write_bytes((root / "train" / "7.png").read_bytes()[:900])
    (root / "train" / "secret.png").replace(root / "train" / "8.png")
    with pytest.raises(DataError, match=r"lost 2 of 42 images \(1 empty_file, 1 truncated\), .* \(2\.0%\)") as caught:
        open_site(config, tiny_study, root, None)
    assert "7" not in caught.value.message
    assert "check" in caught.value.hint


def test_what_is_left_aside_as_expected_is_not_lost(root, tiny_study):
    for name in ("notes.txt", "train/.DS_Store", "train/a.part", "other/readme.md"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")
    save_noise(root / "train" / "copy.png", 0)
    images = open_site(site(folder=RULES), tiny_study, root, None)
    assert (images.declared, images.used) == (42, 42)


@BOTH
def test_a_second_start_decodes_nothing(root, tmp_path, monkeypatch, how):
    config = described(root, how)
    first = survey(config, STUDY, root, tmp_path / "cache")
    monkeypatch.setattr("ra_core.data.scan.look._pixels", lambda *_: pytest.fail("decoded again"))
    again = survey(config, STUDY, root, tmp_path / "cache")
    assert [entry.path for entry in again.scan.accepted] == [entry.path for entry in first.scan.accepted]
    assert again.rows == first.rows


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
        open_site(described(root, how), tiny_study, root, None)
    assert where in caught.value.hint


def test_a_broken_manifest_is_told_before_anything_is_read(root, tiny_study):
    config = by_manifest(root)
    (root / "val" / "0.png").unlink()
    with pytest.raises(ManifestError, match="no such file"):
        open_site(config, tiny_study, root, None)


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
