import nibabel as nib
import numpy as np
from scans import save_noise

from ra_core.config import PreprocessingConfig
from ra_core.data.checks import Code, Level
from ra_core.data.checks.boxes import check_boxes
from ra_core.data.manifest import Row
from ra_core.data.scan import ScanRules, scan


def row(path, boxes):
    return Row(path, "x", "none", "OT", "test", "anomalous", "", path, "", "", "", 2, boxes=boxes)


def test_boxes_on_a_volume_or_beyond_their_picture_are_one_error(tmp_path):
    for number in range(3):
        save_noise(tmp_path / f"{number}.png", number)
    voxels = np.random.default_rng(0).integers(0, 99, (40, 40, 3)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "volume.nii.gz")
    (tmp_path / "cut.png").write_bytes(b"")
    boxes = {"0.png": "1 1 9 9", "1.png": "", "2.png": "30 40 50 48", "volume.nii.gz": "1 1 9 9", "cut.png": "9 9 1 1"}
    rows = [row(path, text) for path, text in boxes.items()]
    scanned = scan(tmp_path, ScanRules(), PreprocessingConfig(size=64), rows=rows)
    (finding,) = check_boxes(scanned, rows, 64)
    assert (finding.level, finding.code) == (Level.ERROR, Code.BOX_UNFIT)
    assert finding.message == "the boxes of 2 of 3 images with boxes can't be used"
    assert [mention.path for mention in finding.files] == ["2.png", "volume.nii.gz"]
    assert [mention.remark for mention in finding.files] == [
        "a box reaches beyond 48 × 40 pixels",
        "boxes don't say on which slice they are",
    ]
    assert not list(check_boxes(scanned, rows[:2], 64))
