import pytest
from scans import save_noise

from ra_core.config import FolderRules, LimitsConfig, PreprocessingConfig
from ra_core.data.manifest import Row
from ra_core.data.readers.refusal import Reason
from ra_core.data.scan import ScanRules, scan
from ra_core.errors import DataError

STUDY = PreprocessingConfig(size=64)


@pytest.fixture
def root(tmp_path):
    for number, name in enumerate(("b.png", "a/1.png", "a/2.png", "c/3.png")):
        save_noise(tmp_path / "root" / name, number)
    return tmp_path / "root"


def named(path):
    return Row(path, "x", "none", "OT", "train", "healthy", "", path, "", "", "", 1)


def reasons(found):
    return {entry.path: entry.reason for entry in found.entries}


def test_the_scan_is_in_the_order_of_the_paths_and_tells_how_far_it_is(root):
    steps = []
    found = scan(root, ScanRules(), STUDY, lambda *step: steps.append(step))
    assert list(reasons(found)) == ["a/1.png", "a/2.png", "b.png", "c/3.png"]
    assert steps == [(done, 4) for done in (1, 2, 3, 4)]


def test_what_no_rule_names_is_not_opened(root):
    (root / "d.png").write_bytes(b"")
    rules = ScanRules(folder=FolderRules(healthy=("a/*",), ignored=("**/2.png",), patient="file"))
    found = reasons(scan(root, rules, STUDY))
    aside = dict.fromkeys(["b.png", "c/3.png", "d.png"], Reason.NOT_LISTED)
    assert found == aside | {"a/1.png": None, "a/2.png": Reason.IGNORED}


def test_only_named_files_are_looked_at(root, tmp_path):
    save_noise(tmp_path / "outside.png", 9)
    rows = [named(path) for path in ("c/3.png", "a/1.png", "gone.png", "../outside.png", "a")]
    assert reasons(scan(root, ScanRules(), STUDY, rows=rows)) == {
        "../outside.png": Reason.OUTSIDE_ROOT,
        "a": Reason.NOT_A_FILE,
        "a/1.png": None,
        "c/3.png": None,
        "gone.png": Reason.MISSING,
    }


def test_the_sites_limits_hold(root):
    found = scan(root, ScanRules(LimitsConfig(min_side=64)), STUDY)
    assert set(reasons(found).values()) == {Reason.TOO_SMALL}
    assert (found.lost, found.lost_share) == (4, 1.0)


def test_an_empty_folder_is_an_empty_scan(tmp_path):
    found = scan(tmp_path, ScanRules(), STUDY)
    assert (found.entries, found.lost_share) == ((), 0.0)


def test_a_root_that_is_none_is_told(tmp_path):
    with pytest.raises(DataError, match="can't be listed"):
        scan(tmp_path / "none", ScanRules(), STUDY)
