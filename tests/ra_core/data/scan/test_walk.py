import os
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ra_core.data.readers.refusal import Reason
from ra_core.data.scan.walk import named, walk
from ra_core.errors import DataError


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def found(root, **options):
    return {file.path: file.reason for file in walk(root, **options)}


def test_the_order_is_that_of_the_paths(tmp_path):
    make(tmp_path, "b", "a/z", "a.txt", "a/b/c", "a-b", "B", "a/c")
    paths = [file.path for file in walk(tmp_path)]
    assert paths == sorted(["b", "a/z", "a.txt", "a/b/c", "a-b", "B", "a/c"])


NAMES = st.text(st.characters(exclude_characters="/\0.", exclude_categories=["Cs"]), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=8))
def test_any_tree_is_walked_whole_and_in_order(tmp_path_factory, trees):
    root = tmp_path_factory.mktemp("tree")
    made = []
    for parts in sorted(trees):
        if not any(parts[: len(other)] == other for other in made):  # a file can't be a folder as well
            make(root, "/".join(parts) + "_")
            made.append(parts)
    paths = [file.path for file in walk(root)]
    assert paths == sorted("/".join(parts) + "_" for parts in made)


SYSTEM = [".DS_Store", "._scan.dcm", "Thumbs.db", "THUMBS.DB", "desktop.ini", "__MACOSX/a", "@eaDir/a/b", "x/._y/z"]


@pytest.mark.parametrize("name", SYSTEM)
@pytest.mark.parametrize("hidden", [False, True])
def test_files_of_operating_systems_are_never_opened(tmp_path, name, hidden):
    make(tmp_path, name)
    assert found(tmp_path, hidden=hidden) == {name: Reason.SYSTEM_FILE}


@pytest.mark.parametrize("name", [".hidden", ".hidden/scan.dcm", "a/.b/c/d"])
def test_hidden_files_are_looked_into_when_asked(tmp_path, name):
    make(tmp_path, name)
    assert found(tmp_path) == {name: Reason.SYSTEM_FILE}
    assert found(tmp_path, hidden=True) == {name: None}


@pytest.mark.parametrize("name", ["upload.dcm.part", "a.PARTIAL", "b.crdownload"])
def test_unfinished_copies_are_no_images(tmp_path, name):
    make(tmp_path, name)
    assert found(tmp_path) == {name: Reason.NOT_AN_IMAGE}


class TestLinks:
    def test_what_is_here_anyway_counts_once(self, tmp_path):
        make(tmp_path, "a/scan.dcm")
        (tmp_path / "again.dcm").symlink_to("a/scan.dcm")
        (tmp_path / "folder").symlink_to("a", target_is_directory=True)
        (tmp_path / "loop").symlink_to(".", target_is_directory=True)
        (tmp_path / "a" / "up").symlink_to("..", target_is_directory=True)
        links = dict.fromkeys(["again.dcm", "folder", "loop", "a/up"], Reason.DUPLICATE)
        assert found(tmp_path) == {"a/scan.dcm": None, **links}

    def test_a_link_to_nothing_and_to_itself_is_missing(self, tmp_path):
        (tmp_path / "gone").symlink_to("nowhere")
        (tmp_path / "self").symlink_to("self")
        assert found(tmp_path) == {"gone": Reason.MISSING, "self": Reason.MISSING}

    def test_what_leads_out_is_not_followed(self, tmp_path):
        make(tmp_path, "root/a", "root_2/b", "c")
        root = tmp_path / "root"
        (root / "file").symlink_to(tmp_path / "c")
        (root / "folder").symlink_to("../root_2", target_is_directory=True)  # its name begins like the root's
        (root / "nothing").symlink_to("../nothing")
        (root / "twice").symlink_to("file")
        outside = dict.fromkeys(["file", "folder", "nothing", "twice"], Reason.OUTSIDE_ROOT)
        assert found(root) == {"a": None, **outside}

    def test_a_root_that_is_a_link_is_walked(self, tmp_path):
        make(tmp_path, "real/a")
        (tmp_path / "root").symlink_to("real", target_is_directory=True)
        assert found(tmp_path / "root") == {"a": None}

    def test_a_link_into_a_hidden_store_is_its_file_once(self, tmp_path):
        make(tmp_path, ".store/1", ".store/2")
        for name, target in (("a", "1"), ("b", "2"), ("c", "1")):
            (tmp_path / name).symlink_to(f".store/{target}")
        (tmp_path / "whole").symlink_to(".store", target_is_directory=True)
        here = {"a": None, "b": None, "c": Reason.DUPLICATE, "whole": Reason.DUPLICATE}
        assert found(tmp_path) == here | {".store/1": Reason.SYSTEM_FILE, ".store/2": Reason.SYSTEM_FILE}


def test_pipes_and_sockets_are_told_without_opening(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "link").symlink_to("pipe.dcm")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
        reasons = found(tmp_path)
    assert reasons == {"pipe.dcm": Reason.NOT_A_FILE, "socket": Reason.NOT_A_FILE, "link": Reason.DUPLICATE}


def test_a_folder_without_access_is_one_entry_and_the_walk_goes_on(tmp_path, monkeypatch):
    make(tmp_path, "a/1", "closed/2", "z")
    listed = os.scandir

    def locked(path):
        if os.fspath(path).rstrip("/").endswith("closed"):
            raise PermissionError(path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert found(tmp_path) == {"a/1": None, "closed": Reason.NO_ACCESS, "z": None}


def test_names_of_any_kind_are_kept(tmp_path):
    names = [b"bad\xff.dcm", "Müller.dcm".encode(), "Mu\u0308ller.dcm".encode(), b"new\nline", b"-rf", b"a.b.c.nii.gz"]
    for name in names:
        with open(os.fsencode(tmp_path) + b"/" + name, "wb"):
            pass
    assert {os.fsencode(path) for path in found(tmp_path)} == set(names)


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_root_that_is_no_folder_is_told(tmp_path, name):
    make(tmp_path, "file")
    with pytest.raises(DataError, match="can't be listed"):
        list(walk(tmp_path / name))


def test_named_files_are_sorted_and_stay_inside(tmp_path):
    make(tmp_path, "root/a", "root/b", "out")
    (tmp_path / "root" / "link").symlink_to("../out")
    paths = ("b", "a", "../out", "link", "b", "gone")
    reasons = [(file.path, file.reason) for file in named(tmp_path / "root", paths)]
    outside = Reason.OUTSIDE_ROOT
    assert reasons == [("../out", outside), ("a", None), ("b", None), ("gone", None), ("link", outside)]
