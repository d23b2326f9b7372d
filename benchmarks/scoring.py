"""Images scored a second: the library's call and `ra-client score`, against each image by itself as it is written.

Both sides in one run, in turn, on the same random images and with the same network; medians. The maps are compared.
"""

import argparse
import platform
import statistics
import subprocess
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from reading import head
from reference_scoring import Reference, clahe
from torch.utils.benchmark import Timer

from ra_core.artifact import Artifact, Card, model_hash, save_artifact
from ra_core.calibration import Calibration, save_calibration
from ra_core.calibration.image_threshold import ImageThreshold
from ra_core.calibration.watching import Tallies
from ra_core.clahe import equalize
from ra_core.config import PerceptualConfig, PreprocessingConfig, RuntimeConfig
from ra_core.daemons.processes import executable
from ra_core.data.image import load_image
from ra_core.models.configs import RAConfig
from ra_core.models.registry import build_method
from ra_core.perceptual import Perceptual
from ra_core.runtime import Runtime
from ra_core.scoring import SCORINGS, Scorer
from ra_core.site_scorer import SiteScorer
from ra_core.thresholds import Promise

SIZE, BATCH = 128, 16
"""Side of the images, and how many are scored at a time: the default of evaluation."""

TOLERANCE = 1e-3
"""Of a map's 99th percentile."""

PLAIN = [s for s in SCORINGS if not s.standardise]
PAPER, PERCEPTUAL = (next(s for s in SCORINGS if s.name == name) for name in ("paper", "perceptual"))
THREE_PASSES = [PAPER, PERCEPTUAL]
PRESETS = {"small": RAConfig(), "paper": RAConfig(preset="paper")}
FILES = 30
"""In a folder for `ra-client score`."""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    runtime = Runtime.resolve(RuntimeConfig(threads=asked.threads), "fp32")
    told = ", ".join(f"{name} {version(name)}" for name in ("torch", "lpips", "scikit-image", "scipy", "numpy"))
    print(f"{processor(runtime)}, {asked.threads} threads; Python {platform.python_version()}, {told}")
    print(f"random images of {SIZE} x {SIZE}, {BATCH} at a time; AlexNet\n")
    network = Perceptual.load(PerceptualConfig())
    with torch.inference_mode():
        ratio = calls(network, Reference("alex", network), asked)
        print("\n| `ra-client score`, PNG files | images a second | start-up, s | by itself, images a second | ratio |")
        print("|---|---|---|---|---|")
        for name in PRESETS:
            files(name, network, asked)
    print(f"\nscored {ratio:.2f} times as fast as one image after another with three LPIPS passes")


def processor(runtime):
    """Its name and its widest instructions: some name the maker alone."""
    return f"{runtime.processor} ({torch.backends.cpu.get_cpu_capability()})"


def calls(network, reference, asked):
    """Print the calls' table and how far apart the maps are; the ratio of three LPIPS passes."""
    x, x_hat, scorer = *pictures(), Scorer(network)
    rows = {
        "the paper's map: two LPIPS passes": ([PAPER], lambda: scorer.maps(x, x_hat, [PAPER])),
        "and LPIPS alone: three passes": (THREE_PASSES, lambda: scorer.maps(x, x_hat, THREE_PASSES)),
        "the 6 plain scorings; the library all 11": (PLAIN, lambda: scorer.maps(x, x_hat, SCORINGS)),
    }
    print("| maps | by itself, images a second | library, images a second | ratio |\n|---|---|---|---|")
    ratios = [row(name, lambda s=s: reference.maps(x, x_hat, s), ours, asked) for name, (s, ours) in rows.items()]
    for name, config in PRESETS.items():
        method = build_method(config, SIZE, 0).eval()
        site = SiteScorer(method, scorer, THREE_PASSES, {}, torch.device("cpu"))
        theirs = partial(one_by_one, reference, method, x)
        row(f"three passes and the reconstruction, preset {name}", theirs, lambda site=site: site.maps(x), asked)
    compare(reference.maps(x, x_hat, PLAIN), scorer.maps(x, x_hat, SCORINGS), torch.cat([x, x_hat]))
    return ratios[1]


def pictures():
    """Images and what stands for their reconstructions: noise, whose speed is that of any picture."""
    return torch.rand(2, BATCH, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).unbind()


def one_by_one(reference, method, images):
    for x in images.split(1):
        reference.maps(x, method.reconstruct(x), THREE_PASSES)


def row(name, theirs, ours, asked):
    """Print one; its ratio. Both sides take turns, so that what else the machine does slows both."""
    timers = [Timer("work()", globals={"work": work}, num_threads=asked.threads) for work in (theirs, ours)]
    ours()  # the library's first call chooses convolutions
    times = [[timer.timeit(1).mean for timer in timers] for _ in range(asked.repeats)]
    slow, fast = (statistics.median(side) for side in zip(*times, strict=True))
    print(f"| {name} | {BATCH / slow:.2f} | {BATCH / fast:.2f} | {slow / fast:.2f} |", flush=True)
    return slow / fast


def compare(theirs, ours, images):
    shares = {name: float((ours[name] - maps).abs().max() / maps.quantile(0.99)) for name, maps in theirs.items()}
    worst = max(shares, key=shares.get)
    print(f"\nlargest difference of a map: {shares[worst]:.1e} of its 99th percentile ({worst})")
    moved = sum((equalize(x)[0, 0].numpy() != clahe(x[0, 0].numpy())).sum() for x in images.split(1))
    print(f"CLAHE: {moved} of {images.numel()} pixels moved")
    if shares[worst] > TOLERANCE:
        raise SystemExit(f"more than {TOLERANCE} of the 99th percentile")


def files(name, network, asked):
    """Print a line of the table of files, scored with the paper's map."""
    with tempfile.TemporaryDirectory() as folder:
        pictures, reference = Path(folder) / "in", Reference("alex", network)
        write_pictures(pictures, FILES)
        model, method = untrained(PRESETS[name], network, Path(folder) / "model")
        outs = [Path(folder) / f"out{turn}" for turn in range(asked.repeats)]
        times = [command(pictures, model, out, asked.threads) for out in outs]
        begun = time.perf_counter()
        for path in pictures.iterdir():
            x = torch.from_numpy(load_image(path, PreprocessingConfig(size=SIZE)).pixels)[None]
            reference.maps(x, method.reconstruct(x), THREE_PASSES)
        alone = (time.perf_counter() - begun) / FILES
    start, each = (statistics.median(part) for part in zip(*times, strict=True))
    print(f"| {name} | {1 / each:.2f} | {start:.2f} | {1 / alone:.2f} | {alone / each:.2f} |", flush=True)


def command(pictures, model, out, threads):
    """Seconds before the first file, and of a file after it: each has its overlay, which tells when it was done."""
    call = [executable("ra-client"), "score", str(pictures), "--model", str(model), "--out", str(out)]
    begun = time.time()
    subprocess.run([*call, "--threads", str(threads)], check=True, capture_output=True)  # noqa: S603 - our own
    done = sorted(path.stat().st_mtime for path in (out / "overlays").iterdir())
    each = (done[-1] - done[0]) / (len(done) - 1)
    return done[0] - each - begun, each


def write_pictures(folder, count):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(head(rng)).save(folder / f"{number}.png")


def untrained(config, network, folder):
    """A model's folder with a calibration by the paper's scoring, and the method in it."""
    method = build_method(config, SIZE, 0).eval()
    made = {"seed": 0, "arm": "local", "steps": 0, "rounds": 0, "selected": 0, "sites": (), "data": (), "metrics": ()}
    told = {"anatomy": "", "modality": "", "runtime": {}, "software": {}, "model_hash": model_hash(method)}
    card = Card(method=config, preprocessing=PreprocessingConfig(size=SIZE), **made, **told)
    save_artifact(folder, Artifact(method, card))
    threshold = {"value": 0.01, "rate": 0.05, "n": 40}
    image = {unit: ImageThreshold(**threshold, unit=unit, low=0.01, high=0.13) for unit in ("slice", "study")}
    calibration = Calibration(
        site="bench",
        scoring=PAPER,
        pixel=Promise(**threshold, unit="pixel"),
        **image,
        pictures=(1, 1),
        usual=Tallies(),
        mean_picture=np.zeros((32, 32), np.uint8),
        perceptual_net="alex",
        perceptual_hash=network.digest,
        model_hash=card.model_hash,
        healthy=None,
    )
    save_calibration(folder, calibration)
    return folder, method


if __name__ == "__main__":
    main()
