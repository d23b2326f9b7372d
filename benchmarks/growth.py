"""How the server grows with sites and with weights: peak memory and own seconds of a round, of the real ServerApp.

Sites answer at once and train nothing. Memory by sites ought to be flat, all else linear. The exponents say whether it
is, from one line to the next: twice as many sites (or weights) take 2^exponent times as much; 0 is flat, 1 is linear.
"""

import argparse
import math
import tempfile
from pathlib import Path

import torch
from federation import lone_server, model_bytes, write_study
from looks import MIB, grown, this_machine

TINY = {"preprocessing": {"size": 32}, "method": {"channels": [4, 4, 4], "latent": 4, "warmup_steps": 0}}
WIDTHS = {1: 45, 4: 90, 16: 181, 64: 364}
"""Widths of a model of about so many MiB; the table has what it really has."""

FEW = 4
"""Sites, where weights grow."""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="*", default=[2, 8, 32, 128, 512])
    parser.add_argument("--mib", type=int, nargs="+", default=[1, 4, 16], choices=WIDTHS, help="of weights")
    given = parser.parse_args()
    print(this_machine(torch.get_num_threads(), "flwr", "numpy"))
    with tempfile.TemporaryDirectory(prefix="ra-") as name:
        folder = Path(name)
        table("sites", ((count, *measured(folder, TINY, count)) for count in given.sites))
        table("MiB of weights", (by_weights(folder, WIDTHS[mib]) for mib in given.mib))


def by_weights(folder, width):
    settings = TINY | {"method": TINY["method"] | {"channels": [width, width, width]}}
    study = write_study(folder / "size.yaml", settings)
    return model_bytes(study) / MIB, *measured(folder, settings, FEW)


def measured(folder, settings, sites):
    """MiB over what the imports take, and the server's own seconds of a round, in a fresh process."""
    study = folder / "study.yaml"
    write_study(study, settings, rounds=2, local_steps=1)
    before, peak, seconds = lone_server(sites, study)
    return peak - before, seconds


def table(what, rows):
    print(f"\n{what:>14} {'MiB over imports':>18} {'exponent':>10} {'seconds a round':>18} {'exponent':>10}")
    shown = []
    for now in rows:
        memory, seconds = (exponent(shown[-1], now, column) if shown else "" for column in (1, 2))
        print(f"{now[0]:14.4g} {now[1]:18.1f} {memory:>10} {now[2]:18.2f} {seconds:>10}", flush=True)
        shown.append(now)
    if len(shown) > 1:
        more, memory, seconds = grown(shown)
        print(f"{more:.3g} x {what}: {memory:.3g} x the memory, {seconds:.3g} x the seconds")


def exponent(before, now, column):
    return f"{math.log(now[column] / before[column]) / math.log(now[0] / before[0]):.2f}"


if __name__ == "__main__":
    main()
