"""The benchmarks of a federation run, and print what they promise; their numbers are not judged."""

import json
import sys
import time
from pathlib import Path

from hospitals import SETTINGS

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(desk, script, *arguments):
    finished = desk.run(*arguments, program=(sys.executable, BENCHMARKS / script))
    assert finished.code == 0, finished.stderr
    return finished.stdout


def test_the_server_works_through_all_simulated_sites_and_its_peak_is_told(desk):
    desk.save("study.yaml", SETTINGS)
    before, peak = map(float, run(desk, "server_memory.py", 3, "study.yaml").split())
    assert peak > before > 0


def test_a_site_trains_alone_and_each_part_takes_time(desk):
    data = {"site": "discs", "root": str(desk.data)}
    desk.save("site.yaml", {"name": "Discs", "anatomy": "none", "modality": "OT", "data": data})
    desk.save("study.yaml", SETTINGS)
    parts = json.loads(run(desk, "pure_training.py", time.time(), "site.yaml", "study.yaml"))
    assert list(parts) == ["imports", "images", "validation", "training"]
    assert all(seconds > 0 for seconds in parts.values())
