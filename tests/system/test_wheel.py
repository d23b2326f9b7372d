"""The wheel holds the four packages and nothing of the tests, and makes three commands."""

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "ra-client": "client.cli:main",
    "ra-server": "server.cli:main",
    "ra-simulate": "simulation.cli:main",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--retries", "1"]
    build = [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - our own
    if done.returncode and "No matching distribution found for hatchling" in done.stdout + done.stderr:
        pytest.skip("the build needs hatchling from a package index, and none can be reached")
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("federated_ra-*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_only_the_four_packages(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ra_core", "client", "server", "simulation"}


def test_every_source_file_is_in_it(wheel):
    packages = ("ra_core", "client", "server", "simulation")
    sources = {str(path.relative_to(ROOT)) for package in packages for path in (ROOT / package).rglob("*.py")}
    assert sources <= set(wheel.namelist())


def test_what_an_app_for_flower_is_made_of(wheel):
    names = wheel.namelist()
    assert "server/app.toml" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_three_commands(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    points = configparser.ConfigParser()
    points.read_string(wheel.read(name).decode())
    assert dict(points["console_scripts"]) == COMMANDS
