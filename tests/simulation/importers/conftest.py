from pathlib import Path

import miniatures
import pytest

from ra_core.data import Manifest
from simulation.importers.write import import_set


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """A data root for the miniatures of all sets."""
    return tmp_path_factory.mktemp("paper")


@pytest.fixture(scope="session")
def imported(root):
    """By name: what was told, and the manifest's rows by the last part of their paths."""
    found = {}
    for name, make in miniatures.SETS.items():
        out = root / f"{name}.csv"
        told = import_set(name, make(root), out)
        found[name] = told, {Path(row.path).name: row for row in Manifest.load(out, root).rows}
    return found
