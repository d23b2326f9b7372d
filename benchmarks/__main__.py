"""Speed as ratios within one run: precision and memory layout of a training step."""

import time

import torch

from ra_core.config import PreprocessingConfig, RuntimeConfig, TrainingConfig
from ra_core.models.configs import RAConfig
from ra_core.models.registry import build_method
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


if __name__ == "__main__":
    main()
