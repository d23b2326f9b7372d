"""`ra-simulate study`: killed within a cell, it goes on to the same numbers; several processes give them too."""

import json
import signal

import pytest

from ra_core.storage import load_tensors

RA = {"name": "ra", "channels": [4, 8, 8], "latent": 8, "warmup_steps": 10}
STUDY = {
    "preprocessing": {"size": 64},
    "training": {"steps": 40, "batch_size": 4, "validate_every": 10, "checkpoint_every": 5, "precision": "fp32"},
    "federation": {"rounds": 4},
    "evaluation": {"bootstrap": 100, "reference_images": 8},
}
SETTINGS = {
    "title": "Discs",
    "sites": [{"config": "site.yaml"}],
    "methods": {
        "ra": {"settings": RA},
        "pca": {"settings": {"name": "pca", "components": 4}},
    },
    "blocks": [{"methods": ["ra", "pca"], "arms": ["pooled"]}],
    "runtime": {"threads": 1},
}
KEYS = {"ra.pooled.seed0", "pca.pooled.seed0"}


@pytest.fixture(scope="module")
def settings(weights_file):
    return SETTINGS | {"study": STUDY | {"perceptual": {"weights": str(weights_file)}}}


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
    found = {path.stem: json.loads(path.read_text())["resumed"] for path in (desk.out / "cells").glob("*.json")}
    assert [key for key, resumed in found.items() if resumed] == ["ra.pooled.seed0"]


def test_two_processes_give_the_same_numbers(desk, settings, undisturbed):
    desk.save("study_of_methods.yaml", settings)
    finished = desk.run(*command(desk, "out", "--jobs", 2))
    assert finished.code == 0, finished.stderr
    assert cells(desk.out) == undisturbed


def test_a_study_goes_on_later_where_its_time_is_over(desk, settings):
    desk.save("study_of_methods.yaml", settings)
    finished = desk.run(*command(desk, "out", "--minutes", 0))
    assert finished.code == 0, finished.stderr
    assert "3 to do" in finished.stderr
    assert not cells(desk.out)
    assert (desk.out / "report.html").exists()
