"""A training step of RA beside the same step as it is written down, and how near to the machine's peak it comes.

Both take steps from the same weights, images and noise, and have to have the same losses; then they take turns.
"""

import argparse
import contextlib
import platform
import statistics
import sys

import torch
from reference_step import ReferenceStep
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from ra_core.config import RuntimeConfig, TrainingConfig
from ra_core.data import HeldImages
from ra_core.models.configs import CONFIGS, RAConfig
from ra_core.models.method import GradientMethod, StepState
from ra_core.models.registry import build_method
from ra_core.privacy.randomness import Randomness
from ra_core.privacy.settings import PrivacyConfig
from ra_core.privacy.steps import PrivateSteps
from ra_core.rng import generator
from ra_core.runtime import Runtime
from ra_core.training import LocalTrainer

LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}
"""How far a loss may be from the reference's, relative to it."""

PATIENTS = 20
"""Of each that a private step draws."""

QUICK = {"channels": [4, 8], "latent": 8}


def noise_images(given):
    """Images of noise: speed doesn't depend on what they show."""
    return torch.rand(given.batch, 1, given.size, given.size, generator=generator(0, "images"))


def main():
    given = arguments()
    torch.set_num_threads(given.threads)
    fast = Runtime.resolve(RuntimeConfig(threads=given.threads), "auto").precision == "bf16"
    print(f"{platform.processor() or platform.machine()}, {torch.cpu.get_capabilities()['cpu_name']}", end=", ")
    print(f"{given.threads} threads, torch {torch.__version__}, batch {given.batch}, {given.size} x {given.size}")
    if not fast:
        print("no AMX and no AVX512-BF16 here: bf16 would be emulated, and isn't measured")
    precisions = ("fp32", "bf16") if fast else ("fp32",)
    peaks = {precision: peak(precision, given) for precision in precisions}
    config = RAConfig(preset=given.preset, warmup_steps=0, **(QUICK if given.quick else {}))
    against_reference(config, precisions, peaks, given)
    if given.methods:
        every_method(peaks, given)
    if given.private:
        private(given)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="paper", choices=("paper", "small"))
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3, help="of each, of which the median is told")
    parser.add_argument("--methods", action="store_true", help="a step of every other method too, preset small")
    parser.add_argument("--private", action="store_true", help="a step that keeps patients private too, preset small")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that all works")
    return parser.parse_args()


def against_reference(config, precisions, peaks, given):
    """The reference and ours in turns; stops where their losses differ."""
    x = noise_images(given)
    authors = config.model_copy(update={"gamma_r": 1e-8})  # which the presets leave out
    reference = ReferenceStep(build_method(authors, given.size, 0), noise)
    kinds = [(precision, layout) for precision in precisions for layout in LAYOUTS]
    ours = {f"ours, {p}, {layout}": step_of(config, p, x, given, LAYOUTS[layout]) for p, layout in kinds}
    asked = {name: p for name, (p, _) in zip(ours, kinds, strict=True)} | {"as written": "fp32"}
    works = {"as written": lambda: reference(x)} | ours
    theirs, flops = {}, {}
    for name, work in works.items():
        losses, flops[name] = counted(work)
        if theirs:
            same_losses(name, theirs, losses, TOLERANCE[asked[name]])
        theirs = theirs or losses
    seconds = in_turns(works, given)
    kind = "tiny" if given.quick else f"preset {given.preset}"
    print(f"\nintrospective step of RA, {kind}; median of {given.repeats}")
    for name, took in seconds.items():
        row = told(name, took, flops[name], peaks[asked[name]])
        print(f"{row}{seconds['as written'] / took:7.2f} x")
    with profile(activities=[ProfilerActivity.CPU]) as found:
        ours[min(ours, key=seconds.get)]()
    print(f"\nwhere {min(ours, key=seconds.get)}, spends it")
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40))


def every_method(peaks, given):
    """A step of each method, so that none is compared while it runs below what the others reach."""
    print(f"\na step of every method that takes steps, preset small, fp32; median of {given.repeats}")
    x = noise_images(given)
    for name, kind in CONFIGS.items():
        config = kind(**({"warmup_steps": 0} if "warmup_steps" in kind.model_fields else {}))
        if not isinstance(build_method(config, given.size, 0), GradientMethod):
            continue
        step = step_of(config, "fp32", x, given)
        _, flops = counted(step)
        print(told(name, in_turns({name: step}, given)[name], flops, peaks["fp32"]))


def private(given):
    """A step with differential privacy beside a plain one; patients are drawn, on average as many as a batch has."""
    config = RAConfig(preset="small", warmup_steps=0, **(QUICK if given.quick else {}))
    patients = torch.rand(PATIENTS * given.batch, 1, given.size, given.size, generator=generator(0, "patients"))
    method = build_method(config, given.size, 0).train()
    state = StepState(0, 0, method.optimizers(), contextlib.nullcontext(), torch.device("cpu"))
    bounds = PrivacyConfig(noise_multiplier=1.0, sampling_rate=1 / PATIENTS)
    steps = PrivateSteps([[place] for place in range(len(patients))], bounds, 1.0, given.batch, Randomness())
    works = {
        "plain": step_of(config, "fp32", patients[: given.batch], given),
        "private": lambda: steps.step(method, lambda drawn, _: patients[list(drawn)], state),
    }
    for work in works.values():
        work()
    seconds = in_turns(works, given)
    print(f"\na private step of RA, preset small, fp32; median of {given.repeats}")
    for name, took in seconds.items():
        print(f"  {name:28}{took * 1e3:10.1f} ms{took / seconds['plain']:7.2f} x")


def told(name, seconds, flops, most):
    """A row of a table."""
    return f"  {name:28}{seconds * 1e3:10.1f} ms{flops / 1e9:10.1f} GFLOP{flops / seconds / most:8.0%} of peak"


def step_of(config, precision, x, given, layout=None):
    """A function that takes our next step on x, and gives its losses; the method's own layout without another."""
    method = build_method(config, given.size, 0).train()
    method.memory_format = layout or method.memory_format
    runtime = Runtime.resolve(RuntimeConfig(threads=given.threads), precision)
    training = TrainingConfig(steps=1, batch_size=len(x), validate_every=1)
    images = HeldImages(x)
    trainer = LocalTrainer(method, images, images, training, runtime, 0)  # lays the method out, as in a round
    x = x.to(memory_format=method.memory_format)
    step = 0

    def take():
        nonlocal step
        state = StepState(step, 0, trainer.optimizers, runtime.autocast, runtime.device)
        step += 1
        return method.training_step(x, state)

    return take


def noise(name, step, *shape):
    """As `StepState.noise`."""
    return torch.randn(*shape, generator=generator(0, "noise", name, step))


def same_losses(name, theirs, ours, tolerance):
    apart = max(abs(ours[part] - loss) / abs(loss) for part, loss in theirs.items())
    print(f"{name}: losses are {apart:.1e} of themselves apart from those of the step as written")
    if apart > tolerance:
        sys.exit(f"more than {tolerance}")


def in_turns(works, given):
    """Median seconds of each by name; all are called once in each round, so that load of the machine hits all."""
    timers = {name: Timer("work()", globals={"work": work}, num_threads=given.threads) for name, work in works.items()}
    taken = [{name: timer.timeit(1).median for name, timer in timers.items()} for _ in range(given.repeats)]
    return {name: statistics.median(row[name] for row in taken) for name in timers}


def counted(work):
    """What it gives, and its floating-point operations of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        found = work()
    return found, counter.get_total_flops()


def peak(precision, given):
    """The most operations a second that a product of two matrices reaches here."""
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    side = 256 if given.quick else 2048
    a, b = torch.rand(2, side, side).to(kind)
    timer = Timer("torch.mm(a, b)", globals={"torch": torch, "a": a, "b": b}, num_threads=given.threads)
    reached = 2 * side**3 / min(timer.timeit(1).median for _ in range(5))
    print(f"product of two {side} x {side} matrices, {precision}: {reached / 1e9:.0f} GFLOP/s")
    return reached


if __name__ == "__main__":
    main()
