"""Thresholds of 8 virtual hospitals that keep their promise or break it: pooled, local and shrunken ones side by side.

One model is trained on half of the hospitals and scores healthy patients of all of them. Then, again and again, the
hospitals draw 15, 20, 30, 40, 60, 80, 120 and 200 patients to calibrate on, in another order each time, and the rate of
false alarms that each way to set thresholds achieves is counted on all other patients.

The first table of a scoring has, as means over repetitions with their 95 % intervals: `broken`, hospitals whose
achieved rate is above the rate asked with its whole interval (Clopper and Pearson, 95 %), which chance alone does to
about one in six local thresholds; `beyond`, hospitals whose achieved rate is higher than what a local threshold of as
many patients, 19 at least, has in 97.5 % of all cases (beta-binomial distribution); the mean and the highest achieved
rate; of hospitals with enough patients for a threshold of their own, how much `too high` it is, in standard deviations
of the hospital's scores above their true quantile, and the root of the mean square of that; and hospitals that have
`none`, which count in no rate. The second has by number of patients what local thresholds promise of the true rate and
of a count (95 % of the Beta and of the beta-binomial distribution), and where 95 % of the achieved rates are.
"""

import argparse
import shlex
import sys
import time
from functools import cache

import numpy as np
from healthy_scores import METHODS, TRAINED, scored
from looks import this_machine
from scipy.stats import betabinom
from ways import WAYS

from ra_core.errors import RAError
from ra_core.runtime import software_versions
from ra_core.thresholds import expected_range, patients_needed
from ra_core.thresholds.conformal import rank
from ra_core.thresholds.figures import share_interval

COUNTS = (15, 20, 30, 40, 60, 80, 120, 200)
COLUMNS = ("broken", "beyond", "mean rate", "highest", "too high", "RMSE", "none")


def main():
    given, began = arguments(), time.monotonic()
    print(this_machine(given.threads, "numpy", "scipy"))
    scores = scored(given)
    print(f"{given.method} trained on {', '.join(TRAINED)}; {given.rate:.0%} asked; {given.repetitions} repetitions")
    for name, by_site in scores.items():
        tell(name, by_site, given)
    able = [n for n in COUNTS if n >= patients_needed(given.rate)]
    chance = sum(broken_by_chance(n, given.patients - n, given.rate) for n in able)
    print(f"\nby chance alone {chance:.2f} of {len(able)} local thresholds are broken")
    versions = ", ".join(f"{name} {version}" for name, version in software_versions().items())
    print(f"seed {given.seed}, {given.patients} patients a hospital, {(time.monotonic() - began) / 60:.1f} minutes")
    print(f"{versions}\npython {shlex.join(['benchmarks/calibration.py', *sys.argv[1:]])}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=METHODS, default="ra")
    parser.add_argument("--steps", type=int, default=500, help="of training")
    parser.add_argument("--train", type=int, default=100, help="healthy patients of each hospital in training")
    parser.add_argument("--patients", type=int, default=600, help="others of each hospital; more than 200")
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--rate", type=float, default=0.05, help="of false alarms asked")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def tell(name, by_site, given):
    """Both tables of a scoring."""
    rng, populations = np.random.default_rng(given.seed), list(by_site.values())
    rows, rates = {way: [] for way in WAYS}, {way: {n: [] for n in COUNTS} for way in WAYS}
    for _ in range(given.repetitions):
        counts = rng.permutation(COUNTS)
        shuffled = [rng.permutation(scores) for scores in populations]
        drawn = [scores[:n] for scores, n in zip(shuffled, counts, strict=True)]
        rest = [scores[n:] for scores, n in zip(shuffled, counts, strict=True)]
        for way, set_thresholds in WAYS.items():
            thresholds = np.array(set_thresholds(drawn, given.rate))
            above = np.array([(scores > limit).sum() for scores, limit in zip(rest, thresholds, strict=True)])
            rows[way].append(measures(thresholds, above, counts, populations, given.rate))
            for n, scores, count in zip(counts, rest, above, strict=True):
                rates[way][n].append(count / len(scores))
    print(f"\n{name}\n{'':16}" + "".join(f"{column:>24}" for column in COLUMNS))
    for way, found in rows.items():
        print(f"{way:16}" + "".join(f"{interval(column):>24}" for column in zip(*found, strict=True)))
    by_count(rates, given)


def measures(thresholds, above, counts, populations, rate):
    """As of `COLUMNS`."""
    left = np.array([len(scores) for scores in populations]) - counts
    broken = sum(share_interval(seen, of)[0] > rate for seen, of in zip(above.tolist(), left.tolist(), strict=True))
    most = [ends(n, of, rate)[1] for n, of in zip(counts.tolist(), left.tolist(), strict=True)]
    beyond = (above / left > np.array(most)).sum()
    known, enough = np.isfinite(thresholds), counts >= patients_needed(rate)
    achieved = (above / left)[known]
    true = np.array([np.quantile(scores, 1 - rate) for scores in populations])
    far = ((thresholds - true) / [scores.std() for scores in populations])[enough]
    return broken, beyond, achieved.mean(), achieved.max(), far.mean(), np.sqrt((far**2).mean()), (~known).sum()


@cache
def ends(n, of, rate):
    """Between what 95 % of the rates lie that a local threshold of n patients achieves among so many others."""
    n = max(n, patients_needed(rate))
    k = rank(n, rate)
    return betabinom.ppf([0.025, 0.975], of, n + 1 - k, k) / of


def broken_by_chance(n, of, rate):
    """How likely a local threshold of n patients is broken, as `broken` counts it, among so many others."""
    k, fewest = rank(n, rate), next(seen for seen in range(of + 1) if share_interval(seen, of)[0] > rate)
    return betabinom.sf(fewest - 1, of, n + 1 - k, k)


def interval(column):
    """Mean over repetitions with its 95 % interval."""
    mean, half = np.mean(column), 1.96 * np.std(column, ddof=1) / np.sqrt(len(column))
    return f"{mean:.3f} ({mean - half:.3f} to {mean + half:.3f})"


def by_count(rates, given):
    """What theory says of local thresholds, and what is measured: between what 95 % of the achieved rates lie."""
    ways = ("local", "shrunken", "pooled")
    print(f"\n{'n':>5}{'promised':>16}{'of a count':>16}" + "".join(f"{way:>16}{'mean':>8}" for way in ways))
    for n in COUNTS:
        line, k = f"{n:5d}", rank(n, given.rate)
        if k <= n:
            seen = ends(n, given.patients - n, given.rate)
            line += "".join(f"{low:>9.3f}-{high:.3f} " for low, high in (expected_range(n, given.rate), seen))
        else:
            line += f"{'none':>16}{'none':>16}"
        for way in ways:
            found = rates[way][n]
            low, high = np.quantile(found, [0.025, 0.975])
            known = way != "local" or k <= n
            line += f"{low:>10.3f}-{high:.3f}{np.mean(found):8.3f}" if known else f"{'none':>16}{'none':>8}"
        print(line)


if __name__ == "__main__":
    try:
        main()
    except RAError as error:
        sys.exit(f"{error.message}: {error.hint}")
