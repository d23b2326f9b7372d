"""Start-up: the programs' help, and the parts of the fresh process that each round begins with, up to its first step.

Each part is what a process with it takes longer than one without. Medians of fresh processes; the images are cached.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from looks import this_machine
from typer.main import get_command
from virtual_hospitals import hospitals

from client.cli import app as client_app
from ra_core.config import StudyConfig
from ra_core.daemons.processes import executable
from server.cli import app as server_app
from simulation.cli import app as simulation_app

PROGRAMS = {"ra-client": client_app, "ra-server": server_app, "ra-simulate": simulation_app}
IMPORTS = {
    "the interpreter": "pass",
    "torch": "import torch",
    "Flower's apps": "import torch, flwr.app, flwr.clientapp",
    "what else the site's app needs": "import client.app, client.opening",
}
OTHERS = ("the interpreter", "torch", "Flower's apps")
"""Parts that are not ours: what all is compared with."""

STUDY = {
    "training": {"precision": "fp32"},
    "federation": {"rounds": 1, "local_steps": 1},
    "method": {"warmup_steps": 0},
}
SCRIPT = Path(__file__).parent / "pure_training.py"
QUICK = STUDY | {"method": {"channels": [4, 8, 8], "latent": 8, "warmup_steps": 0}}
LAST = "the first step"
GOALS = {"help": 0.5, "first step": 3.0}
"""Seconds; the second is of what comes before that step."""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--every", action="store_true", help="help of every command too, not of the programs alone")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that all works")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process compiles all modules anew
    print(this_machine(1, "flwr"))
    for program, app in PROGRAMS.items():
        names = [[], *([name] for name in get_command(app).commands)] if given.every else [[]]
        found = {" ".join([program, *name]): helped(program, name, given.repeats) for name in names}
        slowest = max(found, key=found.get)
        print(f"{found[program]:6.2f} s  {program} --help; goal {GOALS['help']} s")
        if given.every:
            print(f"{found[slowest]:6.2f} s  {slowest} --help, the slowest of {len(found)}")
    exchange = median([sys.executable, "-c", "import client.app"], given.repeats)
    print(f"{exchange:6.2f} s  imports of a process that deals, confirms or reveals keys")
    parts = imports(given.repeats) | first_step(QUICK if given.quick else STUDY, given.repeats)
    for name, seconds in parts.items():
        print(f"{seconds:6.2f} s  {name}")
    whole = sum(parts.values())
    before, others = whole - parts[LAST], sum(parts[part] for part in OTHERS)
    print(f"{before:6.2f} s  before the first step; goal {GOALS['first step']} s")
    print(f"{before / others:6.2f} x  {', '.join(OTHERS)} alone")
    print(f"{whole:6.2f} s  until the first step is done")


def helped(program, name, repeats):
    return median([executable(program), *name, "--help"], repeats)


def imports(repeats):
    whole = {part: median([sys.executable, "-c", code], repeats) for part, code in IMPORTS.items()}
    times = list(whole.values())
    return {part: max(0.0, now - before) for part, now, before in zip(whole, times, [0.0, *times], strict=False)}


def median(command, repeats):
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def first_step(settings, repeats):
    """Seconds from the imports to the end of the first step, by part."""
    with tempfile.TemporaryDirectory(prefix="ra-") as name:
        folder = Path(name)
        node = hospitals(folder, 1)[0]
        config = yaml.safe_load(node.site_config.read_text())
        config["data"]["root"] = str(folder)
        node.site_config.write_text(yaml.safe_dump(config))
        study = folder / "study.yaml"
        study.write_text(yaml.safe_dump(StudyConfig.model_validate(settings).model_dump(mode="json")))
        one_round(folder, node.site_config, study)  # fills the cache
        found = [one_round(folder, node.site_config, study) for _ in range(repeats)]
    words = {"images": "opening cached images", "validation": "judging the model", "training": LAST}
    return {word: statistics.median(parts[part] for parts in found) for part, word in words.items()}


def one_round(folder, site, study):
    env = os.environ | {"RA_CACHE": str(folder / "cache")}
    command = [sys.executable, SCRIPT, str(time.time()), site, study]
    done = subprocess.run(command, check=True, env=env, stdout=subprocess.PIPE)  # noqa: S603 - our own
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
