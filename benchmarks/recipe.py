"""Settings of a method, judged without a single sick image.

Trains a method of a study on the images of all its trained sites together, or with --federate by federated averaging
over them, and prints the error on healthy validation images, and for each scoring the image AUROC and pixel AUPRC
between those images and the same with synthetic anomalies in them: means over the kinds of anomaly and the trained
sites. No test image is read. docs/recipe.md is its log.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from looks import this_machine
from perceptual_term import perceptual_term
from pydantic import ValidationError
from sklearn.metrics import average_precision_score, roc_auc_score
from twins import TWINS

from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.console import TerminalReporter
from ra_core.data import JoinedImages
from ra_core.errors import ConfigError, RAError
from ra_core.evaluation import reference_images
from ra_core.models.registry import build_method
from ra_core.perceptual import Perceptual
from ra_core.runtime import Runtime
from ra_core.scoring import Scorer, image_scores
from ra_core.settings import first_problem, load_config
from ra_core.site_scorer import SiteScorer, batches
from ra_core.synthetic import KINDS, spoil
from simulation.arms import Arm, train_alone, train_federated
from simulation.engines import Node, run_in_process
from simulation.grid.config import GridConfig
from simulation.grid.measure import MEASURING_SEED
from simulation.places import open_places


def main():
    given = arguments()
    config, study = asked(given)
    require_scorings(given.scorings, study)
    print(this_machine(given.threads, "numpy"))
    reporter = TerminalReporter()
    machine = Runtime.resolve(RuntimeConfig(threads=given.threads), study.training.precision)
    places = open_places(config.sites, given.study.parent, study.preprocessing, given.data, given.cache, reporter)
    trained = [place for place in places if place.trained and (not given.site or place.name in given.site)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ra-") as folder:
        place = Path(folder)
        if given.keep:  # one model each: a checkpoint doesn't say of which seed it is
            place = given.keep / "_".join([study.digest()[:16], str(given.perceptual), *(one.name for one in trained)])
        with perceptual_term(given.perceptual, study.method):
            model = train(trained, study, machine, place, given, reporter)
    minutes = (time.monotonic() - began) / 60
    term = [("perceptual", given.perceptual)] * bool(given.perceptual)
    changes = [*term, *given.set, *given.train, *(given.federate or [])]
    changed = " ".join(f"{key}={value}" for key, value in changes)
    print(f"{given.method} {changed}: {model.selection}, {minutes:.1f} minutes, seed {study.seed}")
    scorer = Scorer(Perceptual.load(study.perceptual, machine.device))
    reporter.say("synthetic anomalies on validation images")
    for twin in given.twins:
        found = [judge(model.method, scorer, p.images, study, machine, twin, given.scorings) for p in trained]
        print(f"\n{twin} twin, healthy validation error {np.mean([error for error, _ in found]):.5f}")
        print(f"{'scoring':28}{'image AUROC':>12}{'pixel AUPRC':>12}")
        for name in found[0][1]:
            auroc, auprc = np.mean([numbers[name] for _, numbers in found], axis=0)
            print(f"{name:28}{auroc:12.4f}{auprc:12.4f}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="as of `ra-simulate study`")
    parser.add_argument("--method", required=True, help="its name in the study")
    pairs = {"nargs": "*", "default": [], "type": pair, "metavar": "KEY=VALUE"}
    parser.add_argument("--set", **pairs, help="settings of the method to change")
    parser.add_argument("--train", **pairs, help="keys of `training` to change")
    federated = pairs | {"default": None}
    parser.add_argument("--federate", **federated, help="by federated averaging; keys of `federation` to change")
    parser.add_argument(
        "--perceptual", type=float, default=0.0, help="weight of a perceptual term in training, for RA and VAEs"
    )
    parser.add_argument("--seed", type=int, default=0, help="of training")
    parser.add_argument("--twins", nargs="+", default=["own"], choices=TWINS, help="which to judge; see twins.py")
    parser.add_argument("--scorings", nargs="+", help="only these, by name")
    parser.add_argument("--keep", type=Path, help="folder for checkpoints: the same model is trained once")
    parser.add_argument("--site", nargs="*", help="only these sites")
    parser.add_argument("--data", type=Path, help="data root")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "ra-recipe")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def asked(given):
    """The study's settings with the changes in them."""
    config = load_config(given.study, GridConfig)
    if given.method not in config.methods:
        raise ConfigError(f"--method: '{given.method}' is none of the study", f"it has {', '.join(config.methods)}")
    study = config.study_of(given.method, "pooled" if given.federate is None else "fedavg", given.seed)
    changes = {"method": given.set, "training": given.train, "federation": given.federate or []}
    changed = {part: getattr(study, part).model_dump() | dict(pairs) for part, pairs in changes.items()}
    try:
        return config, StudyConfig.model_validate(study.model_dump() | changed)
    except ValidationError as error:
        hint = "`ra-simulate config study` prints all keys"
        raise ConfigError(f"--set, --train, --federate: {first_problem(error, 'settings')}", hint) from None


def require_scorings(names, study):
    """Before hours of training: a name that the method doesn't have would be judged by nothing."""
    known = [s.name for s in build_method(study.method, study.preprocessing.size, study.seed).scorings]
    if unknown := [name for name in names or () if name not in known]:
        raise ConfigError(f"--scorings: '{unknown[0]}' is none of {study.method.name}", f"it has {', '.join(known)}")


def train(trained, study, machine, folder, given, reporter):
    """The model, by one of the two ways."""
    sites = tuple(place.name for place in trained)
    if given.federate is None:
        images = JoinedImages.train_and_val([place.images for place in trained])
        return train_alone(Arm("pooled", sites), *images, study, machine, folder, reporter)
    nodes = [Node(p.name, p.file, p.root, folder / "sites" / p.name, given.cache) for p in trained]
    runtime = RuntimeConfig(threads=given.threads)
    return train_federated(Arm("federated", sites), nodes, study, runtime, folder, run_in_process, reporter)


def pair(text):
    """Of `KEY=VALUE`, the value read as YAML."""
    key, value = text.split("=", 1)
    return key, yaml.safe_load(value)


def judge(method, scorer, images, study, machine, twin="own", names=()):
    """Error on validation images, and by scoring (AUROC, AUPRC), means over the kinds of anomaly."""
    if twin != "own":  # a detector makes none
        method = TWINS[twin](method, images, study, machine, MEASURING_SEED)
    scorings = [s for s in method.scorings if not names or s.name in names]
    size = study.evaluation.batch_size
    chosen = reference_images(len(images.train), study.evaluation, MEASURING_SEED)
    site = SiteScorer.fit(method, scorer, scorings, batches(images.train, size, chosen), machine.device)
    x, others = images.val.images(range(len(images.val))), images.train.images(chosen[:64])
    healthy = site.scores(x.split(size))
    labels = np.repeat([0, 1], len(x))
    numbers = {s.name: [] for s in site.scorings}
    for kind in KINDS:
        sick, masks = spoil(x, kind, MEASURING_SEED, others)
        maps = site.maps(sick)
        for s in site.scorings:
            scores = np.concatenate([healthy[s.name], image_scores(maps[s.name], s)])
            area = average_precision_score(masks.numpy().ravel(), maps[s.name].numpy().ravel())
            numbers[s.name].append((roc_auc_score(labels, scores), area))
    with torch.inference_mode():
        error = float(site.method.healthy_error(x.to(machine.device)).mean())
    return error, {name: np.mean(found, axis=0) for name, found in numbers.items()}


if __name__ == "__main__":
    try:
        main()
    except RAError as error:
        sys.exit(f"{error.message}: {error.hint}")
