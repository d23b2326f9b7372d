"""A study's cells one after another and two at a time, each with one thread: seconds of `ra-simulate study` as a whole.

Both compute the same cells of virtual hospitals, whose images are drawn and preprocessed before; their numbers are
compared.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from looks import this_machine

from ra_core.daemons.processes import executable

SITES = ("mr_t1", "ct")
JOBS = (1, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="of each cell")
    parser.add_argument("--seeds", type=int, default=4, help="cells: each of one seed")
    given = parser.parse_args()
    print(this_machine(1), flush=True)
    with tempfile.TemporaryDirectory(prefix="ra-") as name:
        folder = Path(name)
        simulate("cohort", "--size", "64", "--out", folder / "data")
        study(folder, "warm", settings(20, 1), 1)  # leaves preprocessed images in the cache
        found = {jobs: study(folder, f"of_{jobs}", settings(given.steps, given.seeds), jobs) for jobs in JOBS}
    one, two = (found[jobs] for jobs in JOBS)
    print(f"{given.seeds} cells of {given.steps} steps, VAE, pooled, 64 x 64, one thread each")
    for jobs, (seconds, _) in found.items():
        print(f"  --jobs {jobs} {seconds:8.1f} s{one[0] / seconds:7.2f} x")
    if one[1] != two[1] or len(one[1]) <= given.seeds:
        sys.exit("not the same numbers, or not of all cells and of the shortcuts")
    print("the same numbers")


def settings(steps, seeds):
    return {
        "title": "The same cells",
        "sites": [{"config": f"site_configs/{site}.yaml"} for site in SITES],
        "methods": {"VAE": {"settings": {"name": "vae", "preset": "small", "channels": [8, 16]}}},
        "blocks": [{"arms": ["pooled"], "seeds": list(range(seeds))}],
        "runtime": {"threads": 1},
        "study": {
            "preprocessing": {"size": 64},
            "training": {"steps": steps, "validate_every": 20},
            "evaluation": {"bootstrap": 100},
        },
    }


def study(folder, name, asked, jobs):
    """Seconds, and of each cell its model's hash and numbers."""
    data, out = folder / "data", folder / name
    file = data / f"{name}.yaml"
    file.write_text(yaml.safe_dump(asked))
    begun = time.perf_counter()
    simulate("study", file, "--data", data, "--cache", folder / "cache", "--out", out, "--jobs", jobs)
    seconds = time.perf_counter() - begun
    cells = {path.name: json.loads(path.read_text()) for path in (out / "cells").glob("*.json")}
    return seconds, {key: (cell["model_hash"], cell["numbers"]) for key, cell in cells.items()}


def simulate(*words):
    command = [executable("ra-simulate"), *map(str, words)]
    subprocess.run(command, check=True, stdout=sys.stderr)  # noqa: S603 - ours


if __name__ == "__main__":
    main()
