"""The benchmarks of a federation run, and print what they promise; their numbers are not judged."""

import ast
import contextlib
import json
import os
import re
import runpy
import shutil
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from hospitals import SETTINGS

TESTS = Path(__file__).resolve().parents[1]
BENCHMARKS = TESTS.parent / "benchmarks"
MACHINE = re.compile(r".+ \(.+\), \d+ threads? on \d+ cores; Python 3\.\S+, torch \S+.*; load .+ in 1, 5, 15 minutes\n")
NUMBER = r" +-?[\d.]+"
TINIEST = {
    "scoring.py": (
        "--quick --batch 2 --files 2 --repeats 1 --threads 1",
        r"\| `model.score\(array\)`.* tiny( \| [\d.]+){3} \|\n(.*\n)+CLAHE: 0 of(.*\n)+"
        r"\| mahalanobis( \| [\d.]+){2} \|\n(.*\n)+\| tiny( \| [\d.]+){4} \|",
    ),
    "reading.py": ("--images 20 --work score", r"score: 20 images take 1\.00 times the memory of 20"),
    "start_up.py": (
        "--quick --repeats 1",
        rf"{NUMBER} s  before the first step; goal 3\.0 s\n{NUMBER} x  the interpreter, .* alone\n{NUMBER} s  until",
    ),
    "growth.py": (
        "--sites 2 3 --mib 1",
        rf"\n1\.5 x sites: .* x the seconds\n(.*\n)+MiB of weights   MiB over imports.*\n +1\.023{NUMBER}{NUMBER}",
    ),
    "traffic.py": (
        "--quick --rounds 1 --steps 1",
        r"model, float32: (.*\n)+  federation\.compress: .* the same bits.*\nerror .* x\n",
    ),
    "simulated_round.py": ("--quick --rounds 1 --steps 1", rf"overhead{NUMBER} s, -?[\d.]+% of the round"),
    "virtual_hospitals.py": ("--sites 1 --engine in-process", rf"\n +1({NUMBER}){{7}}  this benchmark"),
}
"""Arguments, and what is promised. Two are left out, whose parts are run by others: in federation.py two sites and a
server need a minute to be up, in study_jobs.py the drawing of patients takes one."""


def run(desk, script, *arguments):
    finished = desk.run(*arguments, program=(sys.executable, BENCHMARKS / script))
    assert finished.code == 0, finished.stderr
    return finished.stdout


@contextlib.contextmanager
def own_modules():
    """Within, a benchmark's imports are of benchmarks: tests have files of the same names."""
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    try:
        yield
    finally:
        for name in names & sys.modules.keys():
            del sys.modules[name]
        sys.modules.update(others)


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.name)
def test_a_benchmark_needs_nothing_of_the_tests(path):
    """Pytest finds the tests' own modules; who runs a benchmark by itself does not."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    tests = {path.stem for path in (*TESTS.glob("*.py"), *TESTS.glob("system/*.py"))}
    assert named & tests <= {path.stem for path in BENCHMARKS.glob("*.py")}


@pytest.mark.parametrize("script", TINIEST)
def test_it_tells_the_machine_and_what_it_promises(script, weights_file, tmp_path, monkeypatch, capsys):
    """In this process: loading torch is most of what each would need by itself."""
    arguments, promised = TINIEST[script]
    more = ["--weights", str(weights_file)] if script == "scoring.py" else []
    monkeypatch.setattr(sys, "argv", [script, *arguments.split(), *more])
    monkeypatch.syspath_prepend(BENCHMARKS)
    with patch.dict(os.environ, RA_CACHE=str(tmp_path)), own_modules():  # some set variables
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    said = capsys.readouterr().out
    assert MACHINE.match(said)
    assert re.search(promised, said), said


def test_the_server_works_through_all_simulated_sites_and_its_peak_is_told(desk):
    desk.save("study.yaml", SETTINGS)
    before, peak, seconds = map(float, run(desk, "server_memory.py", 3, "study.yaml").split())
    assert peak > before > 0
    assert seconds > 0


def test_a_site_trains_alone_and_each_part_takes_time(desk):
    data = {"site": "discs", "root": str(desk.data)}
    desk.save("site.yaml", {"name": "Discs", "anatomy": "none", "modality": "OT", "data": data})
    desk.save("study.yaml", SETTINGS)
    parts = json.loads(run(desk, "pure_training.py", time.time(), "site.yaml", "study.yaml"))
    assert list(parts) == ["imports", "images", "validation", "training"]
    assert all(seconds > 0 for seconds in parts.values())


def test_a_step_has_the_losses_of_the_step_as_it_is_written_down(desk):
    """It ends badly where they differ by more than 1e-4."""
    quick = ("--quick", "--size", 32, "--batch", 2, "--repeats", 1, "--threads", 1)
    said = run(desk, "step.py", *quick, "--private", "--gains")
    (apart,) = re.findall(r"ours, fp32: losses are (\S+) of themselves apart", said)
    assert float(apart) <= 1e-4
    assert re.search(r"ours, fp32 +[\d.]+ ms +[\d.]+ GFLOP +\d+% of peak +[\d.]+ x", said)
    assert re.search(r"ours, fp32, with its batch +[\d.]+ ms", said)
    assert "aten::convolution_backward" in said
    assert re.search(r"without group norms plane by plane +[\d.]+ ms +[\d.]+ x", said)
    assert re.search(r"  private +[\d.]+ ms +[\d.]+ x", said)


def test_a_masked_round_gives_the_plain_mean_with_and_without_dropouts(desk):
    """It ends badly where they differ."""
    said = run(desk, "masking.py", "--parameters", 1000, "--sites", 3, 6).splitlines()
    rows = [[part.split() for part in line.split("|")] for line in said[3:-1]]
    assert [row[0] for row in rows] == [["3", "3", "0"], ["6", "5", "0"], ["6", "5", "1"]]
    assert all(float(number) >= 0 for row in rows for part in row[1:] for number in part)
    assert said[-1].startswith("vector: 8,112 bytes masked, 4,000 bytes plain")


def test_a_federation_is_attacked_by_a_site_and_all_numbers_are_told(desk):
    quick = ("--warmup", 2, "--rounds", 1, "--steps", 3, "--pairs", 1)
    _, head, row = run(desk, "membership.py", "--patients", 10, *quick).splitlines()
    assert head.split()[:3] == ["patients", "epsilon", "likelihood_ratio"]
    assert row.split()[:2] == ["10", "inf"]
    assert len(re.findall(r"\d\.\d{3} \(\d\.\d{3}-\d\.\d{3}\)", row)) == 4


def test_settings_are_judged_where_no_test_image_is(desk, weights_file, tmp_path):
    """The error falls with the components that PCA has."""
    root = tmp_path / "healthy_alone"
    root.mkdir()
    header, *rows = (desk.data / "manifest.csv").read_text().splitlines()
    kept = [row for row in rows if row.split(",")[4] != "test"]
    assert 0 < len(kept) < len(rows)
    (root / "manifest.csv").write_text("\n".join([header, *kept, ""]))
    for name in (row.split(",")[0] for row in kept):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(desk.data / name, root / name)
    desk.save(
        "grid.yaml",
        {
            "title": "Discs",
            "sites": [{"config": "site.yaml"}],
            "methods": {"PCA": {"settings": {"name": "pca", "components": 1}}},
            "blocks": [{"arms": ["pooled"]}],
            "study": {"preprocessing": {"size": 64}, "perceptual": {"weights": str(weights_file)}},
        },
    )
    errors = []
    for count in (1, 4):
        given = "--method", "PCA", "--set", f"components={count}", "--data", root, "--cache", tmp_path / "cache"
        said = run(desk, "recipe.py", "grid.yaml", *given)
        assert "signed_residual_top" in said
        errors.append(float(re.search(r"validation error ([\d.]+)", said)[1]))
    assert errors[0] > errors[1] > 0


def test_every_way_to_set_thresholds_is_told_for_every_scoring(desk):
    quick = ("--method", "ra", "--steps", 2, "--train", 16, "--patients", 215, "--repetitions", 3)
    said = run(desk, "calibration.py", *quick).splitlines()
    assert said[1] == "ra trained on t1_a, t2_a, flair_a, ct_a; 5% asked; 3 repetitions"
    ways = ("pooled", "local", "shrunken", "K = 0.5 / rate", "K = 2 / rate", "location only", "empirical Bayes")
    for way in ways:
        rows = [line for line in said if line.startswith(f"{way:16}")]
        assert [len(re.findall(r"\(-?\d+\.\d{3} to -?\d+\.\d{3}\)", row)) for row in rows] == [7, 7, 7]
    by_count = [line.split() for line in said if re.match(r" +\d+ ", line)]
    assert [row[0] for row in by_count] == 3 * ["15", "20", "30", "40", "60", "80", "120", "200"]
    assert all(("none" in row) == (row[0] == "15") for row in by_count)
    assert re.fullmatch(r"by chance alone \d\.\d\d of 7 local thresholds are broken", said[-4])
    assert said[-3].startswith("seed 0, 215 patients a hospital")
    assert said[-1] == f"python benchmarks/calibration.py {' '.join(map(str, quick))}"
