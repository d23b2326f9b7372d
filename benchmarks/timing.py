"""What benchmarks of steps and of scoring share: seconds in turns, operations, and the machine's most of these."""

import statistics

import torch
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode


def in_turns(works, given):
    """Median seconds of each by name; all are called once in each round, so that load of the machine hits all.

    Every other round goes backwards, so that none always comes after the same one. The timer waits for a GPU's work.
    """
    timers = [(name, Timer("work()", globals={"work": w}, num_threads=given.threads)) for name, w in works.items()]
    rounds = (timers[:: -1 if turn % 2 else 1] for turn in range(given.repeats))
    taken = [{name: timer.timeit(1).median for name, timer in one} for one in rounds]
    return {name: statistics.median(row[name] for row in taken) for name in works}


def tell_turns(title, works, given):
    """Print milliseconds of each by name, and how often the first one's go into them; each is called once before."""
    for work in works.values():
        work()  # the first call chooses convolutions
    seconds = in_turns(works, given)
    first, *_ = seconds.values()
    print(f"\n{title}; median of {given.repeats}")
    for name, took in seconds.items():
        print(f"  {name:60}{took * 1e3:10.1f} ms{took / first:7.2f} x")


def counted(work):
    """What it gives, and its floating-point operations of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        found = work()
    return found, counter.get_total_flops()


def peak(precision, given):
    """The most operations a second that a product of two matrices reaches here."""
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    side = 256 if given.quick else 2048 if given.device == "cpu" else 8192
    a, b = torch.rand(2, side, side, device=given.device).to(kind)
    timer = Timer("torch.mm(a, b)", globals={"torch": torch, "a": a, "b": b}, num_threads=given.threads)
    reached = 2 * side**3 / min(timer.timeit(1).median for _ in range(5))
    print(f"product of two {side} x {side} matrices, {precision}: {reached / 1e9:.0f} GFLOP/s")
    return reached
