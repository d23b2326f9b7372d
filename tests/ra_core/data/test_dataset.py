import hashlib
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
import torch

from ra_core.config import LimitsConfig, PreprocessingConfig, SiteConfig
from ra_core.data import (
    ArrayCache,
    Image,
    ImageSet,
    Manifest,
    RawImage,
    Row,
    cache,
    content_hash,
    dataset,
    load_image,
    prepare,
)
from ra_core.data.cache import KEPT, forget_all_but_latest, part_of
from ra_core.data.readers.unpack import Part
from ra_core.errors import DataError
from ra_core.settings import load_config

ROOT = Path(__file__).parents[3]
SHARED = ROOT / ".." / "shared" / "data"
CONFIG = PreprocessingConfig(size=32)
SITES = sorted((ROOT / "site_configs").glob("*.yaml"))


def row(path: str, label: str = "healthy", mask: str = "") -> Row:
    return Row(path, "x", "brain", "MR", "test", label, "", path, "", "", mask, 2)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 255, (40, 34), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    mask = np.zeros((40, 34), dtype=np.uint8)
    mask[10:20, 5:15] = 255
    PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


def make(root: Path, cached: bool = True) -> ImageSet:
    rows = [row("0.png"), row("1.png", "anomalous", "mask.png"), row("2.png", "anomalous")]
    return ImageSet(rows, root, CONFIG, root / "cache" if cached else None)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kinds of the images that were preprocessed."""
    seen: list[str] = []

    def counting(raw: RawImage, config: PreprocessingConfig) -> Image:
        seen.append(raw.kind)
        return prepare(raw, config)

    monkeypatch.setattr(dataset, "prepare", counting)
    return seen


def test_images_come_in_the_order_asked(root: Path) -> None:
    images = make(root).images([2, 0, 2])
    assert images.shape == (3, 1, 32, 32)
    assert images.dtype == torch.float32
    expected = torch.from_numpy(load_image(root / "0.png", CONFIG).pixels)
    assert torch.equal(images[1], expected)
    assert torch.equal(images[0], images[2])
    assert make(root).images([]).shape == (0, 1, 32, 32)
    assert torch.equal(images, make(root, cached=False).images([2, 0, 2]))


def test_a_part_has_the_images_of_its_label_in_the_same_order(root: Path) -> None:
    images = make(root)
    part = images.of_label("anomalous")
    assert [row.path for row in part.rows] == ["1.png", "2.png"]
    assert torch.equal(part.images([1]), images.images([2]))
    assert len(images) == 3


def test_the_cache_is_hit_and_kept_between_runs(root: Path, loads: list[str]) -> None:
    first = make(root).images([0, 1, 2])
    assert len(loads) == 3
    assert torch.equal(make(root).images([0, 1, 2]), first)
    assert len(loads) == 3


def test_the_cache_follows_content_settings_and_reader(
    root: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(root).images([0])
    (root / "0.png").rename(root / "renamed.png")
    ImageSet([row("renamed.png")], root, CONFIG, root / "cache").images([0])
    assert len(loads) == 1
    ImageSet([row("renamed.png")], root, PreprocessingConfig(size=64), root / "cache").images([0])
    assert len(loads) == 2
    monkeypatch.setattr(dataset, "READER_VERSION", 0)
    ImageSet([row("renamed.png")], root, CONFIG, root / "cache").images([0])
    assert len(loads) == 3


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[:100], lambda b: b[:-40] + b"\xff" + b[-39:], lambda b: b"junk" * 999]
)
def test_a_damaged_entry_is_computed_again(root: Path, loads: list[str], damage: Callable[[bytes], bytes]) -> None:
    first = make(root).images([0])
    (entry,) = (root / "cache").rglob("*.npy")
    entry.write_bytes(damage(entry.read_bytes()))
    assert torch.equal(make(root).images([0]), first)
    assert torch.equal(make(root).images([0]), first)
    assert len(loads) == 2


def test_cache_names_reveal_nothing_and_only_the_owner_may_look(root: Path) -> None:
    images = make(root)
    images.prepare()
    entries = list(part_of(root / "cache", CONFIG).iterdir())
    assert len(entries) == 3
    for entry in entries:
        assert len(entry.stem) == 64
        assert entry.suffix == ".npy"
        assert entry.stem not in {content_hash(root / r.path) for r in images.rows}
        assert entry.stat().st_mode & 0o077 == 0
        assert np.load(entry, allow_pickle=False).shape == (1, 32, 32)
    for folder in (root / "cache", entries[0].parent):
        assert folder.stat().st_mode & 0o077 == 0


def test_files_of_the_preprocessings_used_last_are_kept_and_no_other_file_is_touched(root: Path) -> None:
    folder = root / "cache"

    def use(size: int) -> None:
        made = PreprocessingConfig(size=size)
        forget_all_but_latest(folder, made)
        ImageSet([row("0.png")], root, made, folder).images([0])
        os.utime(part_of(folder, made), (next(clock),) * 2)

    clock = itertools.count(1)
    sizes = [32 * number for number in range(1, KEPT + 3)]
    use(sizes[0])
    (folder / "of somebody else").mkdir()
    for size in [*sizes[1:KEPT], sizes[0], *sizes[KEPT:]]:
        use(size)
    left = {part_of(folder, PreprocessingConfig(size=size)) for size in [sizes[0], *sizes[3:]]}
    assert set(folder.iterdir()) == left | {folder / "of somebody else"}
    assert all(len(list(part.iterdir())) == 1 for part in left)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(DataError, match="can't be used as a cache") as caught:
        ArrayCache(tmp_path).get("key", lambda: np.zeros(3, dtype=np.float32))
    assert not list(tmp_path.iterdir())
    assert "--cache or RA_CACHE" in caught.value.hint


def test_a_write_that_another_process_swept_away_is_no_error(tmp_path: Path) -> None:
    def sweep_first(self: Path, target: Path) -> None:
        raise FileNotFoundError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", sweep_first)
        assert ArrayCache(tmp_path).get("key", lambda: np.zeros(3, dtype=np.float32)).shape == (3,)


def test_prepare_reports_progress_and_finds_bad_files(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    make(root).prepare(lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    (root / "1.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"1\.png"):
        make(root).prepare()


def test_masks_are_empty_known_or_unknown(root: Path) -> None:
    healthy, known, unknown = make(root).masks([0, 1, 2])
    assert healthy is not None
    assert healthy.shape == (32, 32)
    assert healthy.dtype == torch.bool
    assert not healthy.any()
    assert known is not None
    assert 40 < int(known.sum()) < 90  # 10 × 10 of a 40 × 40 square, at 32 × 32
    assert unknown is None


def test_a_mask_of_another_size_is_refused(root: Path) -> None:
    PIL.Image.new("1", (40, 34)).save(root / "mask.png")
    with pytest.raises(DataError, match="34 × 40 pixels for an image of 1 × 40 × 34"):
        make(root).masks([1])


def test_the_fingerprint_follows_all_that_a_result_depends_on(root: Path) -> None:
    rows = make(root).rows
    whole = ImageSet(rows, root, CONFIG, None).fingerprint()
    assert ImageSet(rows, root, CONFIG, None).fingerprint() == whole
    assert ImageSet(rows[::-1], root, CONFIG, None).fingerprint() != whole  # batches go by place
    for changes in ({"label": "anomalous"}, {"pathology": "x"}, {"patient_id": rows[1].patient_id}):
        changed = [replace(rows[0], **changes), *rows[1:]]
        assert ImageSet(changed, root, CONFIG, None).fingerprint() != whole, changes
    renamed = [replace(row, patient_id=f"other {row.patient_id}") for row in rows]
    assert ImageSet(renamed, root, CONFIG, None).fingerprint() == whole
    assert ImageSet(rows[:2], root, CONFIG, None).fingerprint() != whole
    assert ImageSet([*rows, rows[0]], root, CONFIG, None).fingerprint() != whole
    (root / "0.png").write_bytes((root / "0.png").read_bytes() + b"x")
    assert ImageSet(rows, root, CONFIG, None).fingerprint() != whole


def test_a_file_is_hashed_once_a_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(cache.hashlib, "file_digest", lambda *a: calls.append(a) or digest(*a))
    for _ in range(3):
        make(root).images([0])
        make(root).fingerprint()
    assert len(calls) == 4  # three images and a mask
    with pytest.raises(DataError, match="FileNotFoundError"):
        content_hash(root / "none.png")


# Files of several pictures


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Two volumes of 40 x 40 x 6 with empty ends, a mask of the second, and a picture."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        voxels = rng.integers(1, 99, (40, 40, 6)).astype(np.int16)
        voxels[:, :, [0, 5]] = 0
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / f"{name}.nii.gz")
    lesion = np.zeros((40, 40, 6), np.uint8)
    lesion[10:20, 10:20, 2] = 1
    nib.save(nib.Nifti1Image(lesion, np.eye(4)), tmp_path / "mask.nii.gz")
    PIL.Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(tmp_path / "c.png")
    return tmp_path


def of_volumes(root: Path, config: PreprocessingConfig = CONFIG, cached: bool = False) -> ImageSet:
    rows = [row("a.nii.gz"), row("b.nii.gz", "anomalous", "mask.nii.gz"), row("c.png")]
    return ImageSet(rows, root, config, root / "cache" if cached else None)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths of the volumes whose voxels were read."""
    seen: list[Path] = []
    read = Part.read
    monkeypatch.setattr(Part, "read", lambda self, path: seen.append(path) or read(self, path))
    return seen


def test_each_slice_that_is_not_empty_is_an_image(volumes: Path) -> None:
    images = of_volumes(volumes)
    assert len(images) == 4 + 4 + 1
    assert [r.path for r in images.rows] == ["a.nii.gz"] * 4 + ["b.nii.gz"] * 4 + ["c.png"]
    assert images.frames == (1, 2, 3, 4, 1, 2, 3, 4, 0)
    for index in (0, 5, 8):
        expected = load_image(volumes / images.rows[index].path, CONFIG, images.frames[index]).pixels
        assert torch.equal(images.images([index])[0], torch.from_numpy(expected))
    few = of_volumes(volumes, PreprocessingConfig(size=32, slices=(0.5, 0.7)))
    assert few.frames == (3, 3, 0)
    with pytest.raises(DataError, match="6 × 40 pixels are too few"):
        of_volumes(volumes, PreprocessingConfig(size=32, plane="coronal", slices=(0.5, 0.5)))


def test_the_height_of_a_slice_is_known_in_a_volume_alone(volumes: Path) -> None:
    assert list(of_volumes(volumes).heights()) == [0.2, 0.4, 0.6, 0.8] * 2 + [None]


def test_the_slices_of_a_volume_are_read_together(volumes: Path, reads: list[Path]) -> None:
    images = of_volumes(volumes)
    assert len(reads) == 2
    images.images(range(9))
    assert len(reads) <= 4
    images.masks(range(9))
    assert len(reads) <= 5


def test_which_slices_are_empty_is_kept_with_the_cache(volumes: Path, reads: list[Path]) -> None:
    first = of_volumes(volumes, cached=True).images(range(9))
    reads.clear()
    again = of_volumes(volumes, cached=True)
    assert torch.equal(again.images(range(9)), first)
    assert not reads


def test_masks_follow_the_slice(volumes: Path) -> None:
    masks = of_volumes(volumes).masks(range(9))
    sizes = [int(mask.sum()) for mask in masks]
    assert [size > 0 for size in sizes] == [index == 5 for index in range(9)]
    rows, columns = np.nonzero(masks[5].numpy())
    assert (rows.mean(), columns.mean()) == pytest.approx((24.5 * 0.8, 24.5 * 0.8), abs=0.6)


def test_the_fingerprint_counts_slices(volumes: Path) -> None:
    prints = {
        of_volumes(volumes, PreprocessingConfig(size=32, slices=slices)).fingerprint()
        for slices in ((0.0, 1.0), (0.5, 0.7), (0.3, 0.5))
    }
    assert len(prints) == 3


def test_a_volume_without_a_slice_in_range_is_told(volumes: Path) -> None:
    with pytest.raises(DataError, match=r"a\.nii\.gz: no slice in the range") as caught:
        of_volumes(volumes, PreprocessingConfig(size=32, slices=(0.0, 0.1)))
    assert "preprocessing.slices" in caught.value.hint


def test_a_raster_picture_is_not_opened_before_it_is_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "open_source", None)
    assert make(root).frames == (0, 0, 0)


def test_where_the_frames_are_told_no_file_is_opened_before_it_is_asked_for(
    volumes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, frames = [row("a.nii.gz"), row("c.png")], {"a.nii.gz": [3, 1], "c.png": [0]}
    with monkeypatch.context() as closed:
        for opener in ("open_source", "kind_of", "content_hash"):
            closed.setattr(dataset, opener, None)
        images = ImageSet(rows, volumes, CONFIG, volumes / "cache", frames=frames)
    assert [(r.path, frame) for r, frame in zip(images.rows, images.frames, strict=True)] == [
        ("a.nii.gz", 3),
        ("a.nii.gz", 1),
        ("c.png", 0),
    ]
    expected = load_image(volumes / "a.nii.gz", CONFIG, 3).pixels
    assert torch.equal(images.images([0])[0], torch.from_numpy(expected))


def test_a_file_that_changed_is_read_again(root: Path) -> None:
    images = make(root, cached=False)
    first = images.images([0])
    PIL.Image.fromarray(np.eye(41, 35, dtype=np.uint8)).save(root / "0.png")
    assert not torch.equal(images.images([0]), first)


def test_the_sites_limits_hold(root: Path) -> None:
    images = ImageSet([row("0.png")], root, CONFIG, None, LimitsConfig(min_side=35))
    with pytest.raises(DataError, match="too few"):
        images.images([0])


def test_site_configs_are_here() -> None:
    assert len(SITES) >= 9


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
def test_a_site_config_fits_the_sample_data(path: Path) -> None:
    config = load_config(path, SiteConfig)
    assert config.data.site == path.stem
    if not SHARED.is_dir():
        pytest.skip("the shared sample data is not here")
    manifest = Manifest.load(SHARED / config.data.manifest, SHARED, site=config.data.site)
    assert {r.anatomy for r in manifest.rows} == {config.anatomy}
    assert config.modality in {r.modality for r in manifest.rows}  # hannover has CR and DX
    images = ImageSet(manifest.select(split="test", label="anomalous")[:2], SHARED, CONFIG, None)
    assert images.images([0, 1]).max() > 0.5
    assert len(images.masks([0, 1])) == 2
