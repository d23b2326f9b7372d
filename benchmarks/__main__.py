"""Speed as ratios within one run: precision and memory layout of a training step, CLAHE and LPIPS of a score."""

import time

import numpy as np
import torch
from skimage.exposure import equalize_adapthist

from ra_core.clahe import equalize
from ra_core.config import PerceptualConfig, PreprocessingConfig, RuntimeConfig, TrainingConfig
from ra_core.errors import WeightsError
from ra_core.models.configs import RAConfig
from ra_core.models.registry import build_method
from ra_core.perceptual import Perceptual
from ra_core.runtime import Runtime
from ra_core.training import LocalTrainer

SIZE = PreprocessingConfig().size


class Noise:
    """Sixteen images of noise: speed doesn't depend on what they show."""

    def __init__(self):
        self.x = torch.rand(16, 1, SIZE, SIZE)

    def __len__(self):
        return len(self.x)

    def images(self, indices):
        return self.x[list(indices)]


def step_seconds(config, precision, memory_format, steps):
    runtime = Runtime.resolve(RuntimeConfig(threads=torch.get_num_threads()), precision)
    method = build_method(config, SIZE, 0)
    method.memory_format = memory_format
    # one step to warm up, and one that never comes: no validation inside the measured time
    training = TrainingConfig(steps=steps + 2, batch_size=8, validate_every=steps + 2)
    trainer = LocalTrainer(method, Noise(), Noise(), training, runtime, 0)
    trainer.run(1)
    begun = time.perf_counter()
    trainer.run(1 + steps)
    return (time.perf_counter() - begun) / steps


def compare(title, rows):
    base = next(iter(rows.values()))
    print(f"\n{title}")
    for name, seconds in rows.items():
        print(f"  {name:28s} {seconds * 1000:9.1f} ms   {base / seconds:5.2f} x")


def main():
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, config, steps in (("small", RAConfig(warmup_steps=0), 5), ("paper", RAConfig(preset="paper"), 2)):
        rows = {
            f"{precision}, {layout}": step_seconds(config, precision, memory_format, steps)
            for precision in ("fp32", "bf16")
            for layout, memory_format in (
                ("contiguous", torch.contiguous_format),
                ("channels-last", torch.channels_last),
            )
        }
        compare(f"introspective step, preset {name}, batch 8, {SIZE} x {SIZE}", rows)
    score()


def score():
    x, y = torch.rand(2, 16, 1, SIZE, SIZE)
    images = x[:, 0].double().numpy()
    theirs = np.stack([equalize_adapthist(image) for image in images]).astype(np.float32)
    print(f"\nCLAHE: {np.count_nonzero(equalize(x)[:, 0].numpy() != theirs)} of {theirs.size} pixels differ")
    rows = {
        "CLAHE, scikit-image": _seconds(lambda: [equalize_adapthist(image) for image in images]) / len(x),
        "CLAHE, ours": _seconds(lambda: equalize(x)) / len(x),
    }
    try:
        perceptual = Perceptual.load(PerceptualConfig())
        rows["LPIPS map (AlexNet), a pair"] = _seconds(lambda: perceptual.distance_map(x, y)) / len(x)
    except WeightsError as error:
        print(error.message)
    compare("parts of a score, an image", rows)


def _seconds(work):
    with torch.inference_mode():
        work()
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()
