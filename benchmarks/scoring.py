"""Images scored a second: the library's calls and `ra-client score`, against each image by itself as it is written.

Both sides in one run, in turn, on the same random images and with the same network; medians. The maps are compared.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import torch
from looks import device, this_machine
from reference_scoring import Reference, clahe
from scoring_files import SIZE, files, untrained
from steps import noise_images
from timing import in_turns

from ra_core.clahe import equalize
from ra_core.config import PerceptualConfig, RuntimeConfig
from ra_core.model import load
from ra_core.models.configs import CONFIGS, RAConfig
from ra_core.models.features import FeatureDetector
from ra_core.models.method import FittedMethod
from ra_core.models.registry import build_method
from ra_core.perceptual import Perceptual
from ra_core.runtime import Runtime
from ra_core.scoring import SCORINGS, Scorer
from ra_core.scorings import plain
from ra_core.site_scorer import SiteScorer

TOLERANCE = 1e-3
"""Of a map's 99th percentile."""

PLAIN = [s for s in SCORINGS if not s.standardise]
PAPER, PERCEPTUAL = (next(s for s in SCORINGS if s.name == name) for name in ("paper", "perceptual"))
THREE_PASSES = [PAPER, PERCEPTUAL]
PRESETS = {"small": RAConfig(), "paper": RAConfig(preset="paper")}
QUICK = {"tiny": RAConfig(channels=(4, 8), latent=8)}
FITTED = 80
"""Images that methods without steps are computed from: more than principal components."""

HEAD = "by itself, images a second"


def main():
    given = arguments()
    runtime = Runtime.resolve(RuntimeConfig(threads=given.threads, device=given.device), "fp32")
    print(this_machine(given.threads, "lpips", "scikit-image", "scipy", "numpy", device=given.device))
    print(f"random images of {SIZE} x {SIZE}, {given.batch} at a time; AlexNet; median of {given.repeats}\n")
    network = Perceptual.load(PerceptualConfig(weights=given.weights), runtime.device)
    reference, presets = Reference("alex", network), QUICK if given.quick else PRESETS
    with torch.inference_mode():
        calls(network, reference, presets, given)
        every_method(network, given)
        print(f"\n| `ra-client score`, PNG files, paper's map | images a second | start-up, s | {HEAD} | ratio |")
        print("|---|---|---|---|---|")
        for name, config in presets.items():
            files(name, config, PAPER, reference, network, given)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.set_defaults(size=SIZE)
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="images at a time; the default of evaluation")
    parser.add_argument("--files", type=int, default=30, help="in a folder for the command")
    parser.add_argument("--weights", type=Path, help="of AlexNet; without it, those on this machine")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that all works")
    return parser.parse_args()


def calls(network, reference, presets, given):
    """Print the calls' table and how far apart the maps are."""
    x, x_hat = pictures(given)
    scorer = Scorer(network)
    rows = {
        "the paper's map: two LPIPS passes": ([PAPER], [PAPER]),
        "and LPIPS alone: three passes": (THREE_PASSES, THREE_PASSES),
        f"the {len(PLAIN)} plain scorings; the library all {len(SCORINGS)}": (PLAIN, SCORINGS),
    }
    print(f"| maps | {HEAD} | library, images a second | ratio |\n|---|---|---|---|")
    for name, (theirs, ours) in rows.items():
        row(name, partial(reference.maps, x, x_hat, theirs), partial(scorer.maps, x, x_hat, ours), given)
    for name, config in presets.items():
        method = build_method(config, SIZE, 0).eval().to(given.device)
        site = SiteScorer(method, scorer, THREE_PASSES, {}, network.device)
        theirs = partial(one_by_one, reference, method, x, THREE_PASSES)
        row(f"three passes and the reconstruction, preset {name}", theirs, partial(site.maps, x), given)
    for name, config in presets.items():
        three_lines(name, config, network, reference, x, given)
    compare(reference.maps(x, x_hat, PLAIN), scorer.maps(x, x_hat, SCORINGS), torch.cat([x, x_hat]).cpu())


def every_method(network, given):
    """Print what each method scores a second by its plainest map, as methods are compared in studies."""
    x, scorer, rates = pictures(given)[0], Scorer(network), {}
    print("\n| method, its plain map | library, images a second | over RA's |\n|---|---|---|")
    for name, kind in CONFIGS.items():
        method = build_method(kind(), SIZE, 0).to(given.device).eval()
        if isinstance(method, FeatureDetector):
            method.look_through(network)
        if isinstance(method, FittedMethod):
            method.fit(noise_images(given, FITTED).split(given.batch))
        work = partial(method.maps, x, scorer, [plain(method.scorings)])
        work()
        rates[name] = given.batch / in_turns({name: work}, given)[name]
        print(f"| {name} | {rates[name]:.1f} | {rates[name] / rates['ra']:.2f} |", flush=True)


def pictures(given):
    """Images and what stands for their reconstructions: noise, whose speed is that of any picture."""
    return noise_images(given, 2 * given.batch).chunk(2)


def one_by_one(reference, method, images, scorings):
    for x in images.split(1):
        reference.maps(x, method.reconstruct(x), scorings)


def three_lines(name, config, network, reference, images, given):
    """The README's call on one image at a time, from an array to score, decision and map."""
    with tempfile.TemporaryDirectory() as folder:
        place, method = untrained(config, PAPER, network, Path(folder) / "model")
        model = load(place, weights=given.weights, device=given.device)
    arrays = [image[0].cpu().numpy() for image in images]
    theirs = partial(one_by_one, reference, method.to(given.device), images, [PAPER])
    label = f"`model.score(array)`, one image at a time, paper's map, preset {name}"
    row(label, theirs, lambda: [model.score(array).map for array in arrays], given)


def row(name, theirs, ours, given):
    """Print one. Both sides take turns, so that what else the machine does slows both."""
    ours()  # the library's first call chooses convolutions
    slow, fast = in_turns({"theirs": theirs, "ours": ours}, given).values()
    print(f"| {name} | {given.batch / slow:.2f} | {given.batch / fast:.2f} | {slow / fast:.2f} |", flush=True)


def compare(theirs, ours, images):
    shares = {name: float((ours[name].cpu() - maps).abs().max() / maps.quantile(0.99)) for name, maps in theirs.items()}
    worst = max(shares, key=shares.get)
    print(f"\nlargest difference of a map: {shares[worst]:.1e} of its 99th percentile ({worst})")
    moved = sum((equalize(x)[0, 0].numpy() != clahe(x[0, 0].numpy())).sum() for x in images.split(1))
    print(f"CLAHE: {moved} of {images.numel()} pixels moved")
    if shares[worst] > TOLERANCE:
        raise SystemExit(f"more than {TOLERANCE} of the 99th percentile")


if __name__ == "__main__":
    main()
