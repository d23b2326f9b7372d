"""What no linter knows of our rules for what comes from outside: read through the code's syntax trees."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from ra_core import settings

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ra_core", "client", "server", "simulation")
FILES = [path for package in (*PACKAGES, "benchmarks") for path in sorted((ROOT / package).rglob("*.py"))]

UNPICKLER = "ra_core/perceptual/download.py"
"""Builds arrays and nothing else, of one archive that is pinned by its hash; `tests/ra_core/perceptual/` tries it."""

WHOLE = {
    "ra_core/daemons/": "written by our own daemon on this machine, in a folder of its own",
    "ra_core/installed.py": "installed packages",
    "ra_core/data/cache.py": "our own cache, each file with a hash",
    "ra_core/data/scan/looks.py": "likewise",
    "ra_core/data/readers/dicom/worker.py": "what a decoder has said of one frame, whose size is bounded",
    "ra_core/perceptual/": "pinned by hash; or weights that the user named",
    "client/app.py": "settings of a simulation, which this machine wrote",
    "client/ledger/": "the site's own ledger, in its state folder",
    "client/member/allow.py": "the site's own list, in its state folder",
    "client/member/reach.py": "the site's own key",
    "client/doctor/machine.py": "written by our own daemon",
    "client/rounds.py": "the site's own secret, of 32 bytes",
    "client/leak/outcome.py": "written by ourselves beside a stored model",
    "client/seat.py": "the site's own signing key and masking state, in its folders",
    "client/models.py": "written by ourselves beside a stored model",
    "client/score/table.py": "our own table, which is written over",
    "server/bundle.py": "files of the installed package",
    "server/dashboard/": "files of the installed package",
    "server/operation/": "written by our own commands and app, in the consortium's folder",
    "server/provisioning/": "written by our own commands, in the consortium's folder",
    "server/rounds/account.py": "written by our own app, in the consortium's folder",
    "server/rounds/once.py": "likewise",
    "server/superlink.py": "Flower's settings, which we wrote",
    "simulation/": "the researcher's own machine and files",
}
"""Where a file is read whole without a bound, and why nobody else has a say in how large it is."""


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Of a file's syntax tree; each file is looked at a dozen times."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def calls(path: Path) -> tuple[tuple[str, ast.Call], ...]:
    """Each call with what is called: "eval", "yaml.load", ".read"."""
    return tuple(_calls(path))


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in nodes(path):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id, node
            elif isinstance(node.func, ast.Attribute):
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                yield f"{owner}.{node.func.attr}", node


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def where(*names: str) -> list[str]:
    return [place(path, node) for path in FILES for name, node in calls(path) if name in names]


def imported(path: Path) -> set[str]:
    names = [node for node in nodes(path) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {
        alias.name.partition(".")[0] if isinstance(node, ast.Import) else (node.module or "").partition(".")[0]
        for node in names
        for alias in node.names
    }


def keyword(node: ast.Call, name: str) -> object:
    return next((k.value.value for k in node.keywords if k.arg == name and isinstance(k.value, ast.Constant)), None)


def test_there_is_code_to_look_at():
    assert len(FILES) > 300
    assert where("write_atomically")


def test_nothing_that_is_read_becomes_code():
    assert where("eval", "exec", "compile", "__import__") == []


def test_nothing_is_unpickled_but_the_pinned_arrays():
    picklers = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    assert [str(path.relative_to(ROOT)) for path in FILES if imported(path) & picklers] == [UNPICKLER]
    assert where("pickle.load", "pickle.loads") == []


def test_arrays_and_weights_are_loaded_without_pickle():
    arrays = [(path, node) for path in FILES for name, node in calls(path) if name in ("np.load", "numpy.load")]
    weights = [(path, node) for path in FILES for name, node in calls(path) if name == "torch.load"]
    assert arrays
    assert weights
    assert [place(*found) for found in arrays if keyword(found[1], "allow_pickle") is not False] == []
    assert [place(*found) for found in weights if keyword(found[1], "weights_only") is not True] == []


def test_yaml_is_read_by_a_safe_loader_alone():
    assert issubclass(settings._Loader, yaml.SafeLoader)
    assert "yaml_constructors" not in vars(settings._Loader)  # and it knows no tag that the safe one doesn't
    assert [at.partition(":")[0] for at in where("yaml.load")] == ["ra_core/settings.py"]
    unsafe = ("full_load", "unsafe_load", "load_all", "full_load_all", "unsafe_load_all", "add_constructor")
    assert where(*(f"yaml.{name}" for name in unsafe)) == []


def test_no_archive_is_unpacked_to_disk():
    """So no name in one leads anywhere."""
    assert where("shutil.unpack_archive") == []
    assert [
        at for name in ("extractall", "extract") for at in where(f".{name}", f"tar.{name}", f"archive.{name}")
    ] == []
    assert {str(path.relative_to(ROOT)) for path in FILES if imported(path) & {"tarfile", "zipfile"}} == {UNPICKLER}


def unbounded(path: Path) -> Iterator[ast.Call]:
    """Calls that read a file to its end, however long it is."""
    for name, node in calls(path):
        method = name.rpartition(".")[2]
        if "." in name and (
            method in ("read_text", "read_bytes") or (method == "read" and not node.args and not node.keywords)
        ):
            yield node


def test_nothing_from_outside_is_read_without_a_bound():
    found = [place(path, node) for path in FILES if "benchmarks" not in path.parts for node in unbounded(path)]
    assert [at for at in found if not at.startswith(tuple(WHOLE))] == []


def test_each_exception_is_one():
    found = {place(path, node) for path in FILES for node in unbounded(path)}
    assert [start for start in WHOLE if not any(at.startswith(start) for at in found)] == []


@pytest.mark.parametrize("mark", ["# noqa: S", "# nosec"])
def test_every_exception_to_a_tool_has_its_reason(mark):
    lines = [
        (path, number, line.rpartition(mark)[2])
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if mark in line and "# noqa: SIM" not in line
    ]
    assert lines
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path, number, rest in lines
        if not any(s in rest for s in (" - ", " # "))
    ]
    assert bare == []
