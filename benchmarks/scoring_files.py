"""`ra-client score` over a folder of PNG files, against the same files one after another as it is written."""

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from reading import head

from ra_core.artifact import Artifact, Card, model_hash, save_artifact
from ra_core.calibration import Calibration, save_calibration
from ra_core.calibration.image_threshold import ImageThreshold
from ra_core.calibration.watching import Tallies
from ra_core.config import PreprocessingConfig
from ra_core.daemons.processes import executable
from ra_core.data.image import load_image
from ra_core.models.registry import build_method
from ra_core.thresholds import Promise

SIZE = 128
"""Side of the images."""


def files(name, config, scoring, reference, network, given):
    """Print a line of the table of files. Both sides read each file and make the map of the same scoring."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "in"
        write_pictures(pictures, given.files)
        model, method = untrained(config, scoring, network, Path(folder) / "model")
        method.to(given.device)
        times = []
        for turn in range(given.repeats):
            ours = command(pictures, model, Path(folder) / f"out{turn}", given)
            times.append((*ours, by_itself(pictures, method, scoring, reference, given)))
    start, each, alone = (statistics.median(part) for part in zip(*times, strict=True))
    print(f"| {name} | {1 / each:.2f} | {start:.2f} | {1 / alone:.2f} | {alone / each:.2f} |", flush=True)


def by_itself(pictures, method, scoring, reference, given):
    """Seconds of a file as it is written."""
    begun = time.perf_counter()
    for path in pictures.iterdir():
        x = torch.from_numpy(load_image(path, PreprocessingConfig(size=SIZE)).pixels)[None].to(given.device)
        reference.maps(x, method.reconstruct(x), [scoring])
    return (time.perf_counter() - begun) / given.files


def command(pictures, model, out, given):
    """Seconds before the first file, and of a file after it: each has its overlay, which tells when it was done."""
    call = [executable("ra-client"), "score", str(pictures), "--model", str(model), "--out", str(out)]
    call += ["--threads", str(given.threads), "--device", given.device]
    call += ["--weights", str(given.weights)] if given.weights else []
    begun = time.time()
    subprocess.run(call, check=True, capture_output=True)  # noqa: S603 - our own
    done = sorted(path.stat().st_mtime for path in (out / "overlays").iterdir())
    each = (done[-1] - done[0]) / (len(done) - 1)
    return done[0] - each - begun, each


def write_pictures(folder, count):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(head(rng)).save(folder / f"{number}.png")


def untrained(config, scoring, network, folder):
    """A model's folder with a calibration by a scoring, and the method in it."""
    method = build_method(config, SIZE, 0).eval()
    made = {"seed": 0, "arm": "local", "steps": 0, "rounds": 0, "selected": 0, "sites": (), "data": (), "metrics": ()}
    told = {"anatomy": "", "modality": "", "runtime": {}, "software": {}, "model_hash": model_hash(method)}
    card = Card(method=config, preprocessing=PreprocessingConfig(size=SIZE), **made, **told)
    save_artifact(folder, Artifact(method, card))
    threshold = {"value": 0.01, "rate": 0.05, "n": 40}
    image = {unit: ImageThreshold(**threshold, unit=unit, low=0.01, high=0.13) for unit in ("slice", "study")}
    calibration = Calibration(
        site="bench",
        scoring=scoring,
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
