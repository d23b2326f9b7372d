"""Who was trained on: `ra-client leak` at a virtual hospital, of federations of hospitals of several sizes.

For each number of patients two virtual hospitals train one RA, with differential privacy where `--epsilon` is given,
and the first attacks it with its own patients and 100 held back. One line each; the latest model is attacked.
"""

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path

import yaml
from looks import this_machine

from client.leak.outcome import load_outcome
from client.leak.run import run_leak
from ra_core.artifact import load_artifact
from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.errors import RAError
from server.rounds.card import save_model
from simulation.cohort import CohortConfig, write_cohort
from simulation.cohort.config import HospitalConfig
from simulation.engines import Node, run_in_process

ATTACKS = ("likelihood_ratio", "loss_gap", "images_alone", "found")


def main():
    given = arguments()
    print(this_machine(given.threads, "numpy"))
    print(f"{'patients':>8}{'epsilon':>9}" + "".join(f"{name:>23}" for name in ATTACKS) + f"{'CPU minutes':>13}")
    for patients in given.patients:
        for epsilon in given.epsilon:
            with tempfile.TemporaryDirectory(prefix="ra-") as folder:
                print(row(Path(folder), patients, epsilon, given), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", nargs="*", type=int, default=[400, 40], help="of each hospital, in training")
    parser.add_argument("--epsilon", nargs="*", type=float, default=[math.inf], help="inf: without")
    parser.add_argument("--size", type=int, default=32, help="side of the images that models see")
    parser.add_argument("--warmup", type=int, default=300, help="steps before introspection")
    parser.add_argument("--rounds", type=int, default=17)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--pairs", type=int, default=4, help="of reference models")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def row(folder, patients, epsilon, given):
    """A federation, trained and attacked."""
    began, study = time.process_time(), study_of(epsilon, given)
    names = ("mr_t1", "mr_t2")
    hospitals = [
        HospitalConfig(name=name, contrast=name.removeprefix("mr_"), train=patients, test_anomalous=0) for name in names
    ]
    cohort = CohortConfig(hospitals=hospitals, size=max(64, given.size), seed=given.seed)
    write_cohort(cohort, folder / "cohort", quiet)
    files = {name: folder / f"cohort/site_configs/{name}.yaml" for name in names}
    for file in files.values():
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"runtime": {"threads": given.threads}}))
    nodes = [Node(name, file, folder / "cohort", folder / "state", folder / "cache") for name, file in files.items()]
    progress = run_in_process(study, nodes, RuntimeConfig(threads=given.threads), folder / "run", quiet)
    progress.best, progress.best_round = progress.model, progress.round
    save_model(folder / "model", study, progress)
    run_leak(files["mr_t1"], folder / "model", None, given.pairs, None, given.seed, folder / "cohort", folder / "cache")
    card = load_artifact(folder / "model").card
    found = load_outcome(folder / "model", card.model_hash)
    spent = math.inf if found.epsilon is None else found.epsilon
    told = "".join(f"{number(getattr(found, name)):>23}" for name in ATTACKS)
    return f"{patients:8d}{spent:9.3g}{told}{(time.process_time() - began) / 60:13.1f}"


def study_of(epsilon, given):
    """The quickstart's method and sizes of batches, for fewer steps."""
    return StudyConfig.model_validate(
        {
            "seed": given.seed,
            "preprocessing": {"size": given.size},
            "method": {"channels": [8, 16], "latent": 256, "w_kl": 1e-6, "warmup_steps": given.warmup},
            "training": {"steps": given.rounds * given.steps, "precision": "fp32"},
            "federation": {"rounds": given.rounds, "local_steps": given.steps},
            "dp": None if math.isinf(epsilon) else {"epsilon": epsilon},
        }
    )


def number(attack):
    return f"{attack.value:.3f} ({attack.ci_low:.3f}-{attack.ci_high:.3f})"


def quiet(*_):
    pass


if __name__ == "__main__":
    try:
        main()
    except RAError as error:
        sys.exit(f"{error.message}: {error.hint}")
