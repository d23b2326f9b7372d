from dataclasses import asdict
from pathlib import Path

import pytest

from ra_core.data import Manifest, manifest_bytes
from ra_core.errors import DataError, ManifestError

SHARED = Path(__file__).parents[3] / ".." / "shared" / "data"
HEADER = "path,site,anatomy,modality,split,label,pathology,patient_id,region_mask,source,lesion_mask"
GOOD = ["a.png,x,brain,MR,train,healthy,,p1,,,", "b.png,x,brain,MR,test,anomalous,tumour,p2,,,m.png"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png", "m.png"):
        (folder / name).write_bytes(b"x")
    return folder


def write(root: Path, *rows: str, header: str = HEADER) -> Path:
    file = root / "manifest.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def refused(root: Path, *rows: str, header: str = HEADER) -> str:
    file = write(root, *rows, header=header)
    with pytest.raises(ManifestError) as caught:
        Manifest.load(file, root)
    assert caught.value.message.startswith(str(file))
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value.message.removeprefix(str(file))


def test_loads_rows_with_their_lines(root: Path) -> None:
    manifest = Manifest.load(write(root, *GOOD), root)
    assert [(row.path, row.line) for row in manifest.rows] == [("a.png", 2), ("b.png", 3)]
    assert manifest.rows[1].lesion_mask == "m.png"


def test_optional_columns_may_be_missing(root: Path) -> None:
    header = "patient_id,label,split,modality,anatomy,site,path"
    row = Manifest.load(write(root, "p,healthy,val,MR,brain,x,a.png", header=header), root).rows[0]
    assert (row.path, row.patient_id, row.lesion_mask) == ("a.png", "p", "")


def test_byte_order_mark_crlf_and_quotes_are_read(root: Path) -> None:
    file = root / "m.csv"
    file.write_bytes(("\ufeff" + HEADER + '\r\na.png,x,brain,MR,train,healthy,"a,\n b",p1,,,\r\n').encode())
    row = Manifest.load(file, root).rows[0]
    assert row.pathology == "a,\n b"
    assert row.line == 3


def test_select_filters_and_ignores_the_order_in_the_file(root: Path) -> None:
    rows = [*GOOD, "c.png,y,brain,MR,train,healthy,,p1,,,"]
    forward = Manifest.load(write(root, *rows), root)
    paths = [row.path for row in forward.select()]
    assert paths == sorted(paths)
    backward = Manifest.load(write(root, *reversed(rows)), root)
    assert [row.path for row in backward.select()] == paths
    assert [row.path for row in forward.select(site="x", split="train")] == ["a.png"]
    assert [row.path for row in forward.select(split="test", label="anomalous")] == ["b.png"]
    assert forward.select(site="x", split="test", label="healthy") == ()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("gone.png,x,brain,MR,train,healthy,,p1,,,", "line 2: path: no such file"),
        ("a.png,x,brain,MR,train,healthy,,p1,gone.png,,", "line 2: region_mask: no such file"),
        ("b.png,x,brain,MR,test,anomalous,,p1,,,gone.png", "line 2: lesion_mask: no such file"),
        ("a.png,x,brain,MR,Train,healthy,,p1,,,", "line 2: split is none"),
        ("a.png,x,brain,MR,train,normal,,p1,,,", "line 2: label is none"),
        ("a.png,x,brain,MR,train,healthy,, ,,,", "line 2: empty patient_id"),
        ("a.png,,brain,MR,train,healthy,,p,,,", "line 2: empty site"),
        ("a.png,x,brain,MR,train,anomalous,,p1,,,", "line 2: an anomalous image in train"),
        ("a.png,x,brain,MR,val,anomalous,,p1,,,", "line 2: an anomalous image in val"),
        ("a.png,x,brain,MR,calibration,anomalous,,p1,,,", "line 2: an anomalous image in calibration"),
        ("a.png,x,brain,MR,test,healthy,,p1,,,m.png", "line 2: a healthy image with a lesion_mask"),
        ("/etc/hosts,x,brain,MR,train,healthy,,p1,,,", "line 2: path is absolute"),
        ("C:/a.png,x,brain,MR,train,healthy,,p1,,,", "line 2: path is absolute"),
        ("d\\a.png,x,brain,MR,train,healthy,,p1,,,", "line 2: path is absolute, has '..' or a backslash"),
        ("../root/a.png,x,brain,MR,train,healthy,,p1,,,", "line 2: path is absolute, has '..'"),
        ("b.png,x,brain,MR,test,anomalous,All,p1,,,", "line 2: pathology 'all' is a name that results use"),
        ('b.png,x,brain,MR,test,anomalous,"scar, size: small",p1,,,', "line 2: pathology 'size: small' is a name"),
        ("a.png,x,brain,MR,train,healthy,,p ,,,", "line 2: patient_id begins or ends with a space"),
        (" a.png,x,brain,MR,train,healthy,,p,,,", "line 2: path begins or ends with a space"),
        ("a.png,x,brain,MR,train,healthy,,p, ,,", "line 2: region_mask begins or ends with a space"),
        ("a\0.png,x,brain,MR,train,healthy,,p,,,", "line 2: a NUL byte"),
        ("a.png,x,brain,MR,train,healthy,,p\0,,,", "line 2: a NUL byte"),
        ("a" * 300 + ".png,x,brain,MR,train,healthy,,p,,,", "File name too long"),
        ("a/" * 5000 + "a.png,x,brain,MR,train,healthy,,p,,,", "line 2: path: "),
        ("a.png,x,brain,MR,train,healthy", "line 2: 6 cells under 11 columns"),
        ('a.png,x,brain,MR,train,healthy,"open', "line 2: not valid CSV"),
    ],
)
def test_a_bad_row_is_refused_by_line(root: Path, row: str, reason: str) -> None:
    assert reason in refused(root, row)


@pytest.mark.parametrize("column", range(11))
def test_no_text_of_a_row_is_told(root: Path, column: int) -> None:
    for row in GOOD:
        cells = row.split(",")
        cells[column] = "/DOE^JANE.."
        file = write(root, *GOOD, ",".join(cells))
        with pytest.raises(ManifestError) as caught:
            Manifest.load(file, root)
        assert "DOE" not in caught.value.message + caught.value.hint
    header = HEADER.replace(HEADER.split(",")[column], "DOE^JANE")
    assert "DOE" not in refused(root, *GOOD, header=header)


@pytest.mark.parametrize(
    ("label", "boxes", "reason"),
    [
        ("anomalous", "1 2 3", "line 2: boxes: box 1 is not four numbers"),
        ("anomalous", "1 2 3 4; 9 9 9 12", "line 2: boxes: box 2 ends before it begins"),
        ("anomalous", "1 2 3 4 ", "line 2: boxes begins or ends with a space"),
        ("healthy", "1 2 3 4", "line 2: a healthy image with boxes"),
    ],
)
def test_bad_boxes_are_refused_by_line(root: Path, label: str, boxes: str, reason: str) -> None:
    row = f"b.png,x,brain,MR,test,{label},,p1,,,,{boxes}"
    assert reason in refused(root, row, header=HEADER + ",boxes")


def test_a_manifest_that_is_written_is_read(root: Path) -> None:
    file = write(root, *[row + "," for row in GOOD[:1]], GOOD[1] + ",1 2 3.5 4; 0 0 9 9", header=HEADER + ",boxes")
    rows = Manifest.load(file, root).rows
    assert [row.boxes for row in rows] == ["", "1 2 3.5 4; 0 0 9 9"]
    assert manifest_bytes(asdict(row) for row in rows) == file.read_bytes()
    assert manifest_bytes([asdict(rows[0])]).decode().splitlines()[0] == HEADER


def test_a_patient_in_two_splits_is_refused_without_naming_the_patient(root: Path) -> None:
    message = refused(root, "a.png,x,brain,MR,train,healthy,,secret,,,", "c.png,x,brain,MR,val,healthy,,secret,,,")
    assert "line 3: the patient is in val here and in train on line 2" in message
    assert "secret" not in message


def test_two_sites_may_use_one_patient_number(root: Path) -> None:
    rows = ("a.png,x,brain,MR,train,healthy,,p,,,", "c.png,y,brain,MR,val,healthy,,p,,,")
    assert len(Manifest.load(write(root, *rows), root).rows) == 2


@pytest.mark.parametrize("again", ["a.png", "./a.png", "link.png"])
def test_one_image_twice_is_refused(root: Path, again: str) -> None:
    (root / "link.png").symlink_to("a.png")
    row = GOOD[0]
    assert "line 3: the same image as line 2" in refused(root, row, row.replace("a.png", again, 1))


def test_a_link_may_stay_in_the_root_and_not_leave_it(root: Path) -> None:
    (root / "inside.png").symlink_to("a.png")
    (root.parent / "secret.png").write_bytes(b"x")
    (root / "outside.png").symlink_to("../secret.png")
    assert Manifest.load(write(root, "inside.png,x,brain,MR,train,healthy,,p,,,"), root).rows
    assert "leaves the data root" in refused(root, "outside.png,x,brain,MR,train,healthy,,p,,,")


def test_a_root_behind_a_link_is_fine(root: Path) -> None:
    (root.parent / "link").symlink_to(root)
    assert Manifest.load(write(root, *GOOD), root.parent / "link").rows


def test_the_rest_is_counted(root: Path) -> None:
    message = refused(root, "a.png,x,brain,MR,train,healthy,,,,,", "gone.png,x,brain,MR,train,sick,,p,,,")
    assert message == ", line 2: empty patient_id (and 2 more)"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (HEADER + ",age", "line 1: column 12 is unknown"),
        (HEADER.replace(",", ";"), "line 1: column 1 is unknown"),
        (HEADER.replace("patient_id,", ""), "line 1: no column 'patient_id'"),
        (HEADER + ",path", "line 1: column 'path' twice"),
    ],
)
def test_a_bad_header_is_refused(root: Path, header: str, reason: str) -> None:
    assert reason in refused(root, *GOOD, header=header)


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b" \n", "empty"), (b"path\xff\n", "not UTF-8")])
def test_a_bad_file_is_refused(root: Path, content: bytes, reason: str) -> None:
    file = root / "manifest.csv"
    file.write_bytes(content)
    with pytest.raises(ManifestError, match=reason):
        Manifest.load(file, root)


def test_missing_file_rows_and_root_are_refused(root: Path) -> None:
    with pytest.raises(ManifestError, match="no such file"):
        Manifest.load(root / "none.csv", root)
    with pytest.raises(ManifestError, match="can't be read"):
        Manifest.load(root, root)
    with pytest.raises(DataError, match="no such folder"):
        Manifest.load(root / "manifest.csv", root / "none")
    assert "no row" in refused(root)


def test_a_site_checks_and_keeps_its_own_rows_only(root: Path) -> None:
    file = write(root, *GOOD, "gone.png,y,brain,MR,train,anomalous,,,,,")
    assert {row.site for row in Manifest.load(file, root, site="x").rows} == {"x"}
    with pytest.raises(ManifestError, match="line 4"):
        Manifest.load(file, root)
    with pytest.raises(ManifestError, match="no row of site 'z'") as caught:
        Manifest.load(file, root, site="z")
    assert caught.value.hint == "its sites are x, y"


def test_a_space_behind_the_site_does_not_hide_a_row(root: Path) -> None:
    file = write(root, *GOOD, "c.png,x ,brain,MR,train,healthy,,p,,,")
    with pytest.raises(ManifestError, match="line 4: site begins or ends with a space"):
        Manifest.load(file, root, site="x")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample data is not here")
def test_the_sample_manifest_holds() -> None:
    manifest = Manifest.load(SHARED / "manifest.csv", SHARED)
    assert len(manifest.rows) == 3829
    assert len(manifest.select(site="tcga_cs", split="test", label="anomalous")) == 19
