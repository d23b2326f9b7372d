import subprocess
import sys

import pytest

from ra_core import installed
from ra_core.installed import package_hash, refuse_foreign


def run(code, folder):
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    return done.stdout.strip() or done.stderr


def test_the_same_files_give_the_same_hash_from_any_folder(tmp_path):
    code = "from ra_core.installed import package_hash; print(package_hash())"
    assert run(code, tmp_path) == package_hash()
    assert len(package_hash()) == 64


def test_what_python_writes_while_it_imports_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(installed, "_folder", lambda _: tmp_path)
    (tmp_path / "code.py").write_text("x = 1")
    before = package_hash.__wrapped__()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "code.cpython-311.pyc.140209").write_bytes(b"half")
    assert package_hash.__wrapped__() == before
    (tmp_path / "code.pyc").write_bytes(b"a module that Python would import")
    assert package_hash.__wrapped__() != before


def test_what_is_installed_is_ours():
    refuse_foreign()


@pytest.mark.parametrize("package", ["client", "server"])
def test_a_package_that_goes_before_ours_is_refused_by_name(tmp_path, package):
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    code = """
from ra_core.errors import VersionError
from ra_core.installed import refuse_foreign
try:
    refuse_foreign()
except VersionError as error:
    print(error.message)
"""
    assert run(code, tmp_path) == f"'{package}' that Python imports is not federated-ra's"
