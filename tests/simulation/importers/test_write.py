import miniatures
import pytest
from typer.testing import CliRunner

from ra_core.data import Manifest
from ra_core.errors import DataError
from simulation.cli import app
from simulation.importers.write import import_set


def test_paths_go_from_the_manifests_folder_and_no_pixel_is_copied(tmp_path):
    source = miniatures.ixi(tmp_path / "a", people=3)
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for out in (source / "manifest.csv", tmp_path / "ixi.csv"):
        import_set("ixi", source, out)
        rows = Manifest.load(out, out.parent).rows
        assert [(out.parent / row.path).is_file() for row in rows] == [True] * 3
    assert rows[0].path.startswith("a/IXI-T1/IXI002")
    made = {source / "manifest.csv", tmp_path / "ixi.csv"}
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file() and path not in made) == before


def test_the_same_folder_gives_the_same_bytes_whoever_else_is_there(tmp_path):
    source = miniatures.ixi(tmp_path, people=12)
    import_set("ixi", source, tmp_path / "one.csv")
    import_set("ixi", source, tmp_path / "two.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    before = (tmp_path / "one.csv").read_text().splitlines()
    next(source.iterdir()).unlink()
    import_set("ixi", source, tmp_path / "three.csv")
    after = (tmp_path / "three.csv").read_text().splitlines()
    assert len(after) == len(before) - 1
    assert set(after) < set(before)


def test_what_can_not_be_written_is_told_before_anything_is(tmp_path):
    source = miniatures.ixi(tmp_path / "a", people=1)
    (tmp_path / "b").mkdir()
    (tmp_path / "there.csv").write_text("mine")
    for out, reason in (
        (tmp_path / "b" / "ixi.csv", "not within"),
        (tmp_path / "there.csv", "there is something already"),
    ):
        with pytest.raises(DataError, match=reason) as caught:
            import_set("ixi", source, out)
        assert caught.value.hint
    assert (tmp_path / "there.csv").read_text() == "mine"
    with pytest.raises(DataError, match="no such folder"):
        import_set("ixi", tmp_path / "gone", tmp_path / "ixi.csv")
    with pytest.raises(DataError, match="no image of ATLAS"):
        import_set("atlas", source, tmp_path / "atlas.csv")


def test_the_command_tells_what_it_counted(tmp_path):
    source = miniatures.rsna(tmp_path, normals=3, mapped=False)
    done = CliRunner().invoke(app, ["import", "rsna", str(source), "--out", str(tmp_path / "rsna.csv")])
    assert done.exit_code == 0
    assert done.stdout.strip() == str(tmp_path / "rsna.csv")
    told = done.stderr
    assert "6 images of 6 patients; 1 with boxes, 0 with lesion masks" in told
    assert "test         anomalous  2" in told
    assert "left aside: 1 films without labels" in told
    assert "note: no pneumonia-challenge-dataset-mappings_2018.json" in told


def test_an_unknown_set_is_a_usage_error(tmp_path):
    done = CliRunner().invoke(app, ["import", "brats", str(tmp_path), "--out", str(tmp_path / "x.csv")])
    assert done.exit_code == 2
