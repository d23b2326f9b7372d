import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ra_core.glossary import METRICS, SCORINGS_TOLD, SHORTCUTS_TOLD
from ra_core.models.configs import CONFIGS
from ra_core.models.registry import METHODS
from ra_core.scorings import DISTANCE_SCORINGS, SCORINGS
from ra_core.shortcuts import SHORTCUTS, SLICE_HEIGHT
from simulation.cli import app
from simulation.grid.arms import ARMS
from simulation.grid.result import PAIRED
from simulation.listing import as_text, everything


def names(kind):
    return [entry["name"] for entry in everything()[kind]]


def test_everything_there_is_is_listed():
    assert names("methods") == list(CONFIGS)
    assert set(names("methods")) == set(METHODS)
    assert names("arms") == list(ARMS)
    assert names("scorings") == [scoring.name for scoring in (*SCORINGS, *DISTANCE_SCORINGS)] == list(SCORINGS_TOLD)
    assert names("shortcuts") == [*SHORTCUTS, SLICE_HEIGHT] == list(SHORTCUTS_TOLD)
    assert names("metrics") == list(METRICS)
    assert set(PAIRED) <= set(METRICS)


@pytest.mark.parametrize("kind", everything())
def test_everything_has_a_line_and_a_source(kind):
    for entry in everything()[kind]:
        assert entry["line"].strip(), entry
        assert entry["source"].strip(), entry
        assert "\n" not in entry["line"] + entry["source"]


def test_what_a_federation_can_not_train_says_why():
    for entry in everything()["methods"]:
        assert bool(entry["reason"]) != entry["federates"]
        assert bool(entry["shared_parts"]) == entry["federates"]


@pytest.mark.parametrize("columns", [80, 200])
def test_the_text_fits_the_terminal_and_loses_nothing(columns):
    text = as_text(columns)
    assert max(len(line) for line in text.splitlines()) <= columns
    words = " ".join(text.split())
    for entries in everything().values():
        for entry in entries:
            assert f"\n{entry['name']}\n" in f"\n{text}\n"
            assert " ".join(entry["line"].split()) in words
            assert f"source: {entry['source']}" in words


def test_scripts_get_the_same_as_json():
    printed = CliRunner().invoke(app, ["list", "--json"])
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == everything()


def test_it_is_fast_since_nothing_heavy_is_imported():
    code = (
        "import sys; from simulation import cli; from simulation.listing import as_text; as_text(80); "
        "print(sorted({'torch', 'numpy', 'timm', 'diffusers', 'flwr'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout.strip() == "[]"
