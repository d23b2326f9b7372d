"""What differential privacy costs: epsilon against image AUROC and pixel AUPRC, judged without a single sick image.

Trains a method of a study by a federation of its trained sites, once for each epsilon and once without, and prints for
each the noise, the error on healthy validation images, and AUROC and AUPRC between those and the same with synthetic
anomalies, as `recipe.py` does: means over the kinds of anomaly and the sites. The latest model is judged each time, as
under privacy no error tells which is the best. The sites' own policies hold. No test image is read. The first row is of
no model: the same black picture for every image, by which a scoring that knows the site's healthy images still scores.
"""

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from looks import this_machine
from matplotlib.figure import Figure
from pydantic import ValidationError
from recipe import judge, pair

from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.console import TerminalReporter
from ra_core.errors import ConfigError, RAError
from ra_core.models.registry import build_method
from ra_core.models.shared import load_shared
from ra_core.perceptual import Perceptual
from ra_core.runtime import Runtime
from ra_core.scoring import Scorer
from ra_core.settings import first_problem, load_config
from simulation.engines import Node, run_in_process
from simulation.grid.config import GridConfig
from simulation.places import open_places


def main():
    given = arguments()
    config = load_config(given.study, GridConfig)
    print(this_machine(given.threads, "numpy"))
    studies = [asked(config, given, epsilon) for epsilon in given.epsilon]
    reporter = TerminalReporter()
    machine = Runtime.resolve(RuntimeConfig(threads=given.threads), studies[0].training.precision)
    preprocessing = studies[0].preprocessing
    places = open_places(config.sites, given.study.parent, preprocessing, given.data, given.cache, reporter)
    trained = [place for place in places if place.trained]
    for place in trained:
        print(f"{place.name}: {place.summary.train_patients} patients, {place.summary.train_images} images")
    scorer = Scorer(Perceptual.load(studies[0].perceptual, machine.device))
    print(
        f"{'epsilon':>8}{'noise':>8}{'error':>9}{'image AUROC':>13}{'pixel AUPRC':>13}{'minutes':>9}  {given.scoring}"
    )
    nothing = judged(black(studies[0]), studies[0], trained, scorer, machine, given)
    print(f"{'no model':>16}{line(nothing)}")
    rows = []
    for study in studies:
        model, (epsilon, noise), minutes = federated(study, trained, given)
        numbers = judged(model, study, trained, scorer, machine, given)
        print(f"{epsilon:8.3g}{noise:8.3g}{line(numbers)}{minutes:9.1f}", flush=True)
        rows.append((epsilon, numbers))
    if given.picture:
        draw(given.picture, rows, nothing)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="as of `ra-simulate study`")
    parser.add_argument("--method", required=True, help="its name in the study")
    parser.add_argument("--epsilon", nargs="*", type=float, default=[math.inf, 50, 20, 8, 4, 2], help="inf: without")
    parser.add_argument("--dp", nargs="*", default=[], type=pair, metavar="KEY=VALUE", help="keys of `dp` to change")
    parser.add_argument("--set", nargs="*", default=[], type=pair, metavar="KEY=VALUE", help="settings of the method")
    parser.add_argument("--rounds", type=int, help="rounds in place of the study's")
    parser.add_argument("--steps", type=int, help="steps of a round in place of the study's")
    parser.add_argument("--scoring", default="signed_residual_top", help="the scoring that is judged")
    parser.add_argument("--picture", type=Path, help="PNG file to draw the curve into")
    parser.add_argument("--data", type=Path, help="data root")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "ra-recipe")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def asked(config, given, epsilon):
    """The study's settings as a plain federation, with or without privacy."""
    if given.method not in config.methods:
        raise ConfigError(f"--method: '{given.method}' is none of the study", f"it has {', '.join(config.methods)}")
    found = config.study_of(given.method, "fedavg", 0).model_dump()
    found["method"] |= dict(given.set)
    federation = found["federation"]
    federation |= {
        "rounds": given.rounds or federation["rounds"],
        "local_steps": given.steps or federation["local_steps"],
    }
    found["training"]["steps"] = federation["rounds"] * federation["local_steps"]
    found["dp"] = None if math.isinf(epsilon) else {"epsilon": epsilon} | dict(given.dp)
    try:
        return StudyConfig.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"--set, --dp: {first_problem(error, 'settings')}", "change it") from None


def black(study):
    """A model that draws nothing."""
    method = build_method(study.method, study.preprocessing.size, study.seed).eval()
    method.reconstruct = torch.zeros_like
    return method


def judged(method, study, trained, scorer, machine, given):
    """Error, AUROC and AUPRC, means over the sites."""
    found = [judge(method, scorer, place.images, study, machine) for place in trained]
    auroc, auprc = np.mean([numbers[given.scoring] for _, numbers in found], axis=0)
    return np.mean([error for error, _ in found]), auroc, auprc


def line(numbers):
    error, auroc, auprc = numbers
    return f"{error:9.5f}{auroc:13.4f}{auprc:13.4f}"


def federated(study, trained, given):
    """The latest model of one federation, (epsilon, noise) of the site that spent most, and the minutes it took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ra-") as name:
        folder = Path(name)
        nodes = [Node(p.name, p.file, p.root, folder / "state", given.cache) for p in trained]
        runtime = RuntimeConfig(threads=given.threads)
        progress = run_in_process(study, nodes, runtime, folder / "run", lambda *_: None)
    method = build_method(study.method, study.preprocessing.size, study.seed)
    load_shared(method, study.federation, {key: torch.from_numpy(array) for key, array in progress.model.items()})
    told = [spent for record in progress.records for spent in record.privacy.values()]
    spent = (max(t[0] for t in told), max(t[2] for t in told)) if told else (math.inf, 0)
    return method.eval(), spent, (time.monotonic() - began) / 60


def draw(path, rows, nothing):
    """The curve: what a smaller epsilon costs, beside no privacy and no model."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    private = sorted((epsilon, numbers) for epsilon, numbers in rows if math.isfinite(epsilon))
    for place, name in enumerate(("image AUROC", "pixel AUPRC"), start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.semilogx([epsilon for epsilon, _ in private], [numbers[place] for _, numbers in private], "o-", color="C0")
        for _, numbers in (row for row in rows if math.isinf(row[0])):
            axes.axhline(numbers[place], color="C2", label="without privacy")
        axes.axhline(nothing[place], color="0.5", linestyle="--", label="no model: a black picture")
        axes.set(xlabel="epsilon, log scale", title=name)
        axes.set_xticks([epsilon for epsilon, _ in private], [f"{epsilon:.3g}" for epsilon, _ in private])
        axes.minorticks_off()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    try:
        main()
    except RAError as error:
        sys.exit(f"{error.message}: {error.hint}")
