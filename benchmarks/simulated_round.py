"""The share of a round that isn't training, at one site in the in-process engine; over processes: federation.py."""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from looks import round_seconds, this_machine
from virtual_hospitals import hospitals

from client.site import open_site
from ra_core.config import RuntimeConfig, SiteConfig, StudyConfig
from ra_core.daemons.events import read_events
from ra_core.models.registry import build_method
from ra_core.runtime import Runtime
from ra_core.settings import load_config
from ra_core.training import LocalTrainer
from simulation.engines import run_in_process


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that all works")
    given = parser.parse_args()
    federation = {"rounds": given.rounds, "local_steps": given.steps}
    quick = {"channels": [4, 8, 8], "latent": 8} if given.quick else {}
    study = StudyConfig.model_validate({"method": {"warmup_steps": 0} | quick, "federation": federation})
    print(this_machine(torch.get_num_threads(), "flwr"))
    with tempfile.TemporaryDirectory(prefix="ra-") as name:
        folder = Path(name)
        node, runtime = hospitals(folder, 1)[0], RuntimeConfig(threads=torch.get_num_threads())
        run_in_process(study, [node], runtime, folder / "run", lambda *_: None)
        *rounds, _closing = round_seconds(read_events(folder / "run" / "events.jsonl")[0])  # which trains nothing
        training = pure_training(study, node, runtime)
    whole = median(rounds)
    print(f"{given.steps} steps of {'a tiny' if given.quick else 'the default'} model")
    print(
        f"a round takes {whole:.2f} s ({', '.join(f'{one:.2f}' for one in rounds)}), its pure training {training:.2f} s"
    )
    print(f"overhead {whole - training:.2f} s, {(whole - training) / whole:.1%} of the round, {whole / training:.2f} x")


def pure_training(study, node, runtime):
    """Seconds of a round's steps alone, the mean over as many rounds, in this process that is warm from the run."""
    site, steps = load_config(node.site_config, SiteConfig), study.federation.local_steps
    images = open_site(site, study.preprocessing, node.data_root, node.cache)
    method = build_method(study.method, study.preprocessing.size, study.seed)
    end = study.federation.rounds * steps
    quiet = study.training.model_copy(update={"steps": end + 1, "validate_every": end + 1})
    resolved = Runtime.resolve(runtime, study.training.precision)
    trainer = LocalTrainer(method.to(resolved.device), images.train, images.val, quiet, resolved, study.seed)
    begun = time.perf_counter()
    trainer.run(end)
    return (time.perf_counter() - begun) / study.federation.rounds


if __name__ == "__main__":
    main()
