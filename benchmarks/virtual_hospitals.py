"""Many virtual hospitals on Flower's Ray engine: seconds and memory of a whole run of the real apps, with a tiny model.

All hospitals have the same few pictures, and each its own config, policy, state and ledger. A run joins, trains one
round of one step, judges the model in the closing exchange, and delivers it: four messages a hospital.
"""

import argparse
import contextlib
import datetime as dt
import os
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import yaml
from looks import grown, looking, memory, this_machine
from PIL import Image
from reading import head

from client.app import SIMULATION
from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.daemons.events import read_events
from ra_core.data.manifest import manifest_bytes
from simulation.engines import Node, run_flower, run_in_process

IMAGES = {"train": 8, "val": 4}
STUDY = {
    "preprocessing": {"size": 32},
    "method": {"channels": [4, 4, 4], "latent": 4, "warmup_steps": 0},
    "training": {"batch_size": 2, "precision": "fp32"},
    "federation": {"rounds": 1, "local_steps": 1, "join_seconds": 7200},
}
PROCESSES = ("flower-superlink", "flwr-simulation", "ClientAppActor", "raylet", "gcs_server")
ENGINES = {"flower": run_flower, "in-process": run_in_process}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--engine", choices=ENGINES, default="flower", help="in-process: all in one process, no Ray")
    given = parser.parse_args()
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's own 15 makes sites wait for whatever else the machine does
    print(this_machine(1, "flwr", "ray"))
    print(f"engine {given.engine}; MiB are what processes have for themselves, the highest sum of all at one moment")
    print(" sites    seconds  joining    round  closing  delivery  messages/s      MiB  of them")
    found = []
    for count in given.sites:
        with tempfile.TemporaryDirectory(prefix="ra-") as name:
            told, seconds = line(Path(name), count, ENGINES[given.engine])
        print(told, flush=True)
        found.append((count, seconds))
    if len(found) > 1:
        sites, seconds = grown(found)
        print(f"{sites:.3g} x the sites: {seconds:.3g} x the seconds in all")


def line(folder, count, engine):
    """A line of the table, and its seconds in all."""
    nodes = hospitals(folder, count)
    begun = time.perf_counter()
    with sampled(str(folder / "run" / "nodes.json")) as peak:
        engine(StudyConfig.model_validate(STUDY), nodes, RuntimeConfig(threads=1), folder / "run", lambda *_: None)
    seconds = time.perf_counter() - begun
    parts = exchanges(read_events(folder / "run" / "events.jsonl")[0])
    shares = ", ".join(f"{name} {mib:.0f}" for name, mib in peak.most_common(4))
    told = " ".join(f"{part:8.1f}" for part in parts)
    rate = 4 * count / sum(parts)
    return f"{count:6d} {seconds:10.1f} {told} {rate:12.1f} {peak.total():8.0f}  {shares}", seconds


def hospitals(folder, count, images=IMAGES):
    """One node a hospital, over the same pictures, so many of each split."""
    rng = np.random.default_rng(0)
    names = [f"{split}{number}" for split, many in images.items() for number in range(many)]
    for name in names:
        Image.fromarray(head(rng)).save(folder / f"{name}.png")
    return [hospital(folder, f"h{number:04d}", names) for number in range(count)]


def hospital(folder, site, names):
    same = {"site": site, "anatomy": "brain", "modality": "MR", "label": "healthy"}
    rows = [same | {"path": f"{name}.png", "split": name.rstrip("0123456789"), "patient_id": name} for name in names]
    (folder / f"{site}.csv").write_bytes(manifest_bytes(rows))
    data = {"site": site, "manifest": f"{site}.csv"}
    config = {"name": site, "anatomy": "brain", "modality": "MR", "data": data, "runtime": {"threads": 1}}
    (folder / f"{site}.yaml").write_text(yaml.safe_dump(config))
    return Node(site, folder / f"{site}.yaml", folder, folder / "state" / site, folder / "cache")


@contextlib.contextmanager
def sampled(marker):
    """MiB by process, at the moment at which their sum was highest; looked at twice a second."""
    peak = Counter()

    def look():
        now = Counter()
        for process in family(marker):
            with contextlib.suppress(psutil.Error, OSError, KeyError):
                now[word(process)] += memory(process.pid)
        if now.total() > peak.total():
            peak.clear()
            peak.update(now)

    with looking(look, 0.5):
        yield peak


def family(marker):
    """This process, and those that the engine has started; Ray's are only known as their children."""
    found = {psutil.Process()}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(SIMULATION) == marker:
                found |= {process, *process.children(recursive=True)}
    return found


def word(process):
    if process.pid == os.getpid():
        return "this benchmark"
    line = " ".join(process.cmdline())
    return next((name for name in PROCESSES if name in line), "other")


def exchanges(events):
    """Seconds of joining, the round, the closing exchange and delivery."""

    def moments(kind):
        return [dt.datetime.fromisoformat(event["time"]).timestamp() for event in events if event["event"] == kind]

    begun = min(moments("waiting") + moments("joined"))
    moments_of_all = [begun, *moments("round_started"), moments("round_done")[-1], moments("delivered")[-1]]
    return [after - before for before, after in pairwise(moments_of_all)]


if __name__ == "__main__":
    main()
