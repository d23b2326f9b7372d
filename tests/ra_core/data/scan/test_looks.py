import json
import os
from pathlib import Path

import pytest
from scans import picture, save_noise

from ra_core.config import LimitsConfig, PreprocessingConfig
from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Note
from ra_core.data.scan import Pixels, ScanRules, scan
from ra_core.data.scan.looks import Looks
from ra_core.errors import DataError

STUDY, LIMITS = PreprocessingConfig(size=64), LimitsConfig()
SEEN = Pixels((picture("x"), picture("y", 3)), ((Reason.EMPTY_SLICE, 2),), (Note.SHEARED,))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "secret.dcm"
    path.write_bytes(b"x")
    return path


def looks(file, study=STUDY, limits=LIMITS, folder="cache"):
    return Looks(file.parent / folder, file.parent, study, limits)


def looked(file, **options):
    """How often a file was looked at; what was seen is kept."""
    counted = []
    kept = looks(file, **options)
    found = kept.of(file, lambda: counted.append(1) or SEEN)
    kept.keep()
    assert (found.pictures[1].frame, found.skipped, found.notes) == (3, SEEN.skipped, SEEN.notes)
    assert (found.pictures[0].thumbnail == SEEN.pictures[0].thumbnail).all()
    assert found.pictures[0].digest == SEEN.pictures[0].digest
    return len(counted)


def test_an_unchanged_file_is_looked_at_once(file):
    assert [looked(file), looked(file)] == [1, 0]


def test_a_changed_file_or_question_is_looked_at_anew(file):
    looked(file)
    os.utime(file, ns=(1, 1))
    assert looked(file) == 1
    assert looked(file, study=PreprocessingConfig(size=32)) == 1
    assert looked(file, limits=LimitsConfig(min_side=8)) == 1
    assert looked(file) == 0


@pytest.mark.parametrize("content", ["", "{", "[]", "[1]", '{"a": 1}'])
def test_a_damaged_file_is_none(file, content):
    looked(file)
    (stored,) = (file.parent / "cache").rglob("*.json")
    stored.write_text(content)
    assert looked(file) == 1


def test_it_is_its_owners_alone_and_holds_no_name(file):
    looked(file)
    (stored,) = (file.parent / "cache").rglob("*.json")
    assert stored.stat().st_mode & 0o777 == 0o600
    assert stored.parent.stat().st_mode & 0o777 == 0o700
    assert "secret" not in stored.name + stored.read_text()
    assert str(file.parent) not in stored.read_text()


def kept_looks(file):
    (stored,) = (file.parent / "cache").rglob("*.json")
    return len(json.loads(stored.read_text()))


def look_at(*files):
    kept = looks(files[0])
    for file in files:
        kept.of(file, lambda: SEEN)
    return kept


def test_what_is_there_no_more_is_forgotten_at_the_next_look(file):
    gone, new = file.with_name("gone"), file.with_name("new")
    gone.write_bytes(b"x")
    look_at(file, gone).keep()
    gone.unlink()
    new.write_bytes(b"x")
    look_at(new).keep()
    assert kept_looks(file) == 2
    assert looked(file) == 0


def test_sites_under_one_root_add_to_each_other_even_at_once(file):
    other = file.with_name("other")
    other.write_bytes(b"x")
    one, two = look_at(file), look_at(other)
    one.keep()
    two.keep()
    assert [looked(file), looked(other)] == [0, 0]
    assert kept_looks(file) == 2


def test_one_damaged_look_is_looked_at_anew(file):
    looked(file)
    (stored,) = (file.parent / "cache").rglob("*.json")
    content = json.loads(stored.read_text())
    for damage in (None, [], ["x"], [next(iter(content.values()))[0], [[{}], [], []]]):
        stored.write_text(json.dumps(dict.fromkeys(content, damage)))
        assert looked(file) == 1


def test_a_folder_that_cannot_be_written_is_told(file):
    with pytest.raises(DataError, match="can't be used as a cache"):
        looked(file, folder="secret.dcm")


def test_a_folder_that_another_process_swept_is_no_error(file, monkeypatch):
    kept = look_at(file)
    with monkeypatch.context() as swept:
        swept.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(FileNotFoundError))
        kept.keep()
    assert not list((file.parent / "cache").rglob("*.json"))
    kept.keep()
    assert kept_looks(file) == 1


def test_a_scan_that_was_stopped_goes_on(tmp_path):
    for name in range(4):
        save_noise(tmp_path / "root" / f"{name}.png", name)

    def stop(done, _total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(tmp_path / "root", ScanRules(), STUDY, stop, cache=tmp_path / "cache")
    (stored,) = (tmp_path / "cache").rglob("*.json")
    assert len(json.loads(stored.read_text())) == 3
    save_noise(tmp_path / "root" / "0.png", 9)
    with pytest.raises(KeyboardInterrupt):
        scan(
            tmp_path / "root",
            ScanRules(),
            STUDY,
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
            cache=tmp_path / "cache",
        )
    assert len(json.loads(stored.read_text())) == 3  # what was there stays
    assert len(scan(tmp_path / "root", ScanRules(), STUDY, cache=tmp_path / "cache").accepted) == 4
