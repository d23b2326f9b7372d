import subprocess
import sys

import pytest

from ra_core.installed import package_hash, refuse_foreign


def run(code, folder):
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    return done.stdout.strip() or done.stderr


def test_the_same_files_give_the_same_hash_from_any_folder(tmp_path):
    code = "from ra_core.installed import package_hash; print(package_hash())"
    assert run(code, tmp_path) == package_hash()
    assert len(package_hash()) == 64


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
