"""`ra-simulate study`: killed within a cell, it goes on to the same numbers; several processes give them too."""

import json
import signal

import pytest
from conftest import STUDY

from ra_core.storage import load_tensors

SETTINGS = {
    "title": "Discs",
    "sites": [{"config": "site.yaml"}],
    "methods": {
        "ra": {"settings": {**STUDY["method"], "name": "ra"}},
        "pca": {"settings": {"name": "pca", "components": 4}},
    },
    "blocks": [{"methods": ["ra", "pca"], "arms": ["pooled"]}],
    "runtime": {"threads": 1},
}
KEYS = {"ra.pooled.seed0", "pca.pooled.seed0"}


@pytest.fixture(scope="module")
def settings(weights_file):
    study = {name: found for name, found in STUDY.items() if name != "method"} | {"federation": {"rounds": 4}}
    return SETTINGS | {"study": study | {"perceptual": {"weights": str(weights_file)}}}


def command(desk, out, *more):
    return ("study", "study_of_methods.yaml", "--data", desk.data, "--out", out, *more)


def cells(folder):
    """By key, what has to be equal bit for bit."""
    found = {path.stem: json.loads(path.read_text()) for path in (folder / "cells").glob("*.json")}
    return {
        key: {name: cell[name] for name in ("numbers", "model_hash", "chosen", "made_of")}
        for key, cell in found.items()
        if key in KEYS
    }


@pytest.fixture(scope="module")
def undisturbed(make_desk, settings, tmp_path_factory):
    desk = make_desk(tmp_path_factory.mktemp("undisturbed"))
    desk.save("study_of_methods.yaml", settings)
    finished = desk.run(*command(desk, "out"))
    assert finished.code == 0, finished.stderr
    assert "estimate: " in finished.stderr + finished.stdout
    return cells(desk.out)


def test_a_killed_study_goes_on_to_the_same_numbers(desk, settings, undisturbed, start_until):
    desk.save("study_of_methods.yaml", settings)
    checkpoint = desk.out / "work" / "ra.pooled.seed0" / "checkpoint.safetensors"

    def is_in_the_middle():
        return checkpoint.exists() and load_tensors(checkpoint)[1]["step"] >= 15

    process = start_until(desk, is_in_the_middle, *command(desk, "out"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert cells(desk.out).keys() < KEYS
    again = desk.run(*command(desk, "out"))
    assert again.code == 0, again.stderr
    assert cells(desk.out) == undisturbed
    assert undisturbed.keys() == KEYS


def test_two_processes_give_the_same_numbers(desk, settings, undisturbed):
    desk.save("study_of_methods.yaml", settings)
    finished = desk.run(*command(desk, "out", "--jobs", 2))
    assert finished.code == 0, finished.stderr
    assert cells(desk.out) == undisturbed


def test_a_study_goes_on_later_where_its_time_is_over(desk, settings):
    desk.save("study_of_methods.yaml", settings)
    finished = desk.run(*command(desk, "out", "--minutes", 0))
    assert finished.code == 0, finished.stderr
    assert "not begun within the time" in finished.stderr + finished.stdout
    assert not cells(desk.out)
