"""A training step of RA beside the same step as it is written down, and how near to the machine's peak it comes.

Both take steps from the same weights, images and noise, and have to have the same losses; then they take turns.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

import torch
from gains import tell_gains
from looks import device, this_machine
from reference_step import reference_apart
from steps import Way, noise_images, runtime_of, step_of, ways
from timing import counted, in_turns, peak, tell_turns
from torch.profiler import ProfilerActivity, profile

from ra_core.models.adam import Adam
from ra_core.models.configs import CONFIGS, RAConfig
from ra_core.models.method import GradientMethod, StepState
from ra_core.models.registry import build_method
from ra_core.privacy.randomness import Randomness
from ra_core.privacy.settings import PrivacyConfig
from ra_core.privacy.steps import PrivateSteps

TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}
"""How far a loss may be from the reference's, relative to it."""

COMPILED_TOLERANCE = TOLERANCE | {"fp32": 1e-3}
"""The same of compiled steps, which no round takes: what the compiler fuses is rounded elsewhere."""

PATIENTS = 20
"""Of each that a private step draws."""

QUICK = {"channels": [4, 8], "latent": 8}


def main():
    given = arguments()
    torch.set_num_threads(given.threads)
    fast = runtime_of("auto", given).precision == "bf16"
    print(this_machine(given.threads, device=given.device))
    print(f"batch {given.batch}, {given.size} x {given.size}")
    if not fast:
        print("no AMX, no AVX512-BF16 and no GPU of capability 8 here: bf16 would be emulated, and isn't measured")
    precisions = ("fp32", "bf16") if fast else ("fp32",)
    peaks = {precision: peak(precision, given) for precision in precisions}
    config = RAConfig(preset=given.preset, warmup_steps=0, **(QUICK if given.quick else {}))
    with tempfile.TemporaryDirectory(prefix="ra-") as folder:
        against_reference(config, precisions, peaks, Path(folder), given)
    if given.gains:
        for precision in precisions:
            tell_gains(config, precision, noise_images(given), given)
    if given.methods:
        every_method(peaks, given)
    if given.private:
        private(given)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="small", choices=("paper", "small"))
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3, help="of each, of which the median is told")
    parser.add_argument("--compile", action="store_true", help="compiled by torch too, which needs a C++ compiler")
    parser.add_argument("--gains", action="store_true", help="without single changes of ours, too")
    parser.add_argument("--methods", action="store_true", help="a step of every other method too, preset small")
    parser.add_argument("--private", action="store_true", help="a step that keeps patients private too, preset small")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that all works")
    return parser.parse_args()


def against_reference(config, precisions, peaks, folder, given):
    """The reference and ours in turns; stops where their losses differ."""
    x = noise_images(given)
    authors = config.model_copy(update={"gamma_r": 1e-8})  # which the presets leave out
    with reference_apart(authors, given) as (reference, operations):
        found = {"as written": Way(reference)} | ways(config, precisions, x, folder, given)
        flops = first_steps(found) | {"as written": operations()}
        seconds = in_turns({name: way.take for name, way in found.items()}, given)
    kind = "tiny" if given.quick else f"preset {given.preset}"
    print(f"\nintrospective step of RA, {kind}; median of {given.repeats}")
    for name, took in seconds.items():
        print(told(name, took, flops[name], peaks[found[name].precision], seconds["as written"] / took))
    updates(config, given)
    where_it_goes(min((name for name in found if name.startswith("ours")), key=seconds.get), found, given)


def first_steps(found):
    """Operations of a step by name; all take their first one, with the losses of the step as written."""
    theirs, flops = None, {}
    for name, way in found.items():
        begun = time.perf_counter()
        if way.eager:
            losses, flops[name] = way.take(), flops[way.eager]
            print(f"{name}: the first step took {time.perf_counter() - begun:.1f} s, most of it compiling")
        else:
            losses, flops[name] = counted(way.take)
        theirs = theirs or losses
        if losses and losses is not theirs:
            tolerance = COMPILED_TOLERANCE if way.eager else TOLERANCE
            same_losses(name, theirs, losses, tolerance[way.precision])
    return flops


def updates(config, given):
    """Adam's update of all weights: fused, as ours, and by torch's loop over lists of tensors."""
    weights = list(build_method(config, given.size, 0).to(given.device).parameters())
    for weight in weights:
        weight.grad = torch.full_like(weight, 1e-3)
    works = {f"Adam, {kind}": Adam(weights, **{kind: True}).step for kind in ("fused", "foreach")}
    for work in works.values():
        work()
    for name, took in in_turns(works, given).items():
        print(f"  {name:36}{took * 1e3:10.1f} ms")


def where_it_goes(name, found, given):
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (given.device != "cpu")
    with profile(activities=kinds) as seen:
        found[name].take()
    where = "cpu" if given.device == "cpu" else "device"
    print(f"\nwhere {name}, spends it")
    print(seen.key_averages().table(sort_by=f"self_{where}_time_total", row_limit=12, max_name_column_width=40))


def every_method(peaks, given):
    """A step of each method, so that none is compared while it runs below what the others reach."""
    print(f"\na step of every method that takes steps, preset small, fp32; median of {given.repeats}")
    print("the last column is the share of the peak over RA's")
    x, shares = noise_images(given), []
    for name, kind in CONFIGS.items():
        config = kind(**({"warmup_steps": 0} if "warmup_steps" in kind.model_fields else {}))
        if not isinstance(build_method(config, given.size, 0), GradientMethod):
            continue
        step = step_of(config, "fp32", x, given)
        _, flops = counted(step)
        took = in_turns({name: step}, given)[name]
        shares.append(flops / took)
        print(told(name, took, flops, peaks["fp32"], shares[-1] / shares[0]))


def private(given):
    """A step with differential privacy beside a plain one; patients are drawn, on average as many as a batch has."""
    config = RAConfig(preset="small", warmup_steps=0, **(QUICK if given.quick else {}))
    patients = noise_images(given, PATIENTS * given.batch)
    method = build_method(config, given.size, 0).to(given.device).train()
    state = StepState(0, 0, method.optimizers(), contextlib.nullcontext, torch.device(given.device))
    bounds = PrivacyConfig(noise_multiplier=1.0, sampling_rate=1 / PATIENTS)
    steps = PrivateSteps([[place] for place in range(len(patients))], bounds, 1.0, given.batch, Randomness())
    works = {
        "plain": step_of(config, "fp32", patients[: given.batch], given),
        "private": lambda: steps.step(method, lambda drawn, _: patients[list(drawn)], state),
    }
    tell_turns("a private step of RA, preset small, fp32", works, given)


def told(name, seconds, flops, most, ratio):
    """A row of a table."""
    share = flops / seconds / most
    return f"  {name:36}{seconds * 1e3:10.1f} ms{flops / 1e9:10.1f} GFLOP{share:8.0%} of peak{ratio:7.2f} x"


def same_losses(name, theirs, ours, tolerance):
    apart = max(abs(ours[part] - loss) / abs(loss) for part, loss in theirs.items())
    print(f"{name}: losses are {apart:.1e} of themselves apart from those of the step as written")
    if apart > tolerance:
        sys.exit(f"more than {tolerance}")


if __name__ == "__main__":
    main()
