"""The app bundle carries no code, from a checkout and from the installed package alike."""

import contextlib
import hashlib
import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest
from flwr.cli.app import app as flwr
from typer.testing import CliRunner

from server.bundle import bundle_hash, write_app

ROOT = Path(__file__).resolve().parents[2]


def read(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "app"
    write_app(folder)
    return folder


def built(app, folder):
    """The bundle that Flower's own command makes of an app."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(flwr, ["build", "--app", str(app)])
    assert not done.exit_code, done.output
    (bundle,) = folder.glob("*.fab")
    return bundle


@pytest.fixture(scope="module")
def bundles(written, tmp_path_factory):
    """By what they are made of."""
    checkout = tmp_path_factory.mktemp("here") / "checkout"  # Flower looks at each file, also of an environment
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".git", ".venv*", ".*_cache", "__pycache__", "out"))
    apps = {"checkout": checkout, "package": written}
    return {source: built(app, tmp_path_factory.mktemp(source)) for source, app in apps.items()}


@pytest.mark.parametrize("source", ["checkout", "package"])
def test_a_bundle_holds_settings_and_licence_only(source, bundles):
    with zipfile.ZipFile(bundles[source]) as archive:
        assert sorted(archive.namelist()) == [".info/CONTENT", "LICENSE", "pyproject.toml"]


def test_checkout_and_package_describe_the_same_app(written):
    ours, theirs = read(ROOT), read(written)
    assert ours["tool"]["flwr"] == theirs["tool"]["flwr"]
    for name in ("name", "version", "description", "license"):
        assert ours["project"][name] == theirs["project"][name]
    assert set(theirs["project"]["dependencies"]) <= set(ours["project"]["dependencies"])
    assert (written / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_simulation_needs_the_same_flower():
    settings = read(ROOT)["project"]
    (pin,) = [text for text in settings["dependencies"] if text.startswith("flwr")]
    assert pin.replace("flwr", "flwr[simulation]") in settings["optional-dependencies"]["simulation"]


def test_the_settings_that_a_run_may_give_are_declared_empty(written):
    empty = dict.fromkeys(("study-file", "folder", "sites", "nodes", "run", "bundle", "deadline"), "")
    assert read(written)["tool"]["flwr"]["app"]["config"] == empty


def test_the_hash_is_that_of_the_bundle_that_flower_builds(bundles):
    assert hashlib.sha256(bundles["package"].read_bytes()).hexdigest() == bundle_hash()
