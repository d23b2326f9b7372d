from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ra_core.config import PreprocessingConfig
from ra_core.data.checks import Code, Level
from ra_core.data.checks.masks import check_masks
from ra_core.data.manifest import Row
from ra_core.data.readers import Reading
from ra_core.data.scan import ScanRules, scan

SHAPE = (48, 40)


@pytest.fixture
def found(tmp_path):
    """Findings on masks of the files named by their columns, for as many images."""

    def check(**masks):
        rows = []
        for number, (column, mask) in enumerate(masks.items()):
            pixels = np.random.default_rng(number).integers(0, 256, SHAPE, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number}.png")
            row = Row(f"{number}.png", "x", "none", "OT", "test", "anomalous", "", f"{number}", "", "", "", number)
            rows.append(replace(row, **{f"{column.split('__')[0]}_mask": mask}))
        scanned = scan(tmp_path, ScanRules(), PreprocessingConfig(size=64), rows=rows)
        assert len(scanned.accepted) == len(rows)
        return {finding.code: finding for finding in check_masks(scanned, rows, Reading())}

    mask = np.zeros(SHAPE, np.uint8)
    mask[9:20, 9:20] = 255
    Image.fromarray(mask).save(tmp_path / "good.png")
    Image.fromarray(mask[:40]).save(tmp_path / "small.png")
    Image.fromarray(np.where(mask > 0, np.arange(40, dtype=np.uint8), 0)).save(tmp_path / "grey.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:-30])
    (tmp_path / "text.png").write_text("secret")
    return check


def test_good_masks_and_none_are_nothing_to_tell(found):
    assert found(lesion="good.png", region="good.png", lesion__2="") == {}


def test_a_finding_a_fault_with_counts_and_files(found):
    told = found(
        lesion="cut.png",
        region="text.png",
        lesion__2="small.png",
        lesion__3="grey.png",
        region__2="grey.png",
        region__3="good.png",
    )
    counts = {code: [mention.path for mention in finding.files] for code, finding in told.items()}
    assert counts == {
        Code.MASK_UNREADABLE: ["cut.png", "text.png"],
        Code.MASK_OTHER_GRID: ["small.png"],
        Code.MASK_NOT_BINARY: ["grey.png", "grey.png"],
    }
    assert told[Code.MASK_UNREADABLE].message == "2 of 6 masks can't be read"
    for finding in told.values():
        assert finding.level == Level.ERROR
        assert ".png" not in finding.message + finding.how_to_fix
        assert all(mention.remark and ".png" not in mention.remark for mention in finding.files)


def test_the_masks_of_images_that_are_not_used_do_not_matter(found, tmp_path):
    (tmp_path / "none.png").write_bytes(b"")
    row = Row("none.png", "x", "none", "OT", "test", "anomalous", "", "p", "", "", "cut.png", 1)
    scanned = scan(tmp_path, ScanRules(), PreprocessingConfig(size=64), rows=[row])
    assert not list(check_masks(scanned, [row], Reading()))
