"""What secure aggregation adds to a round: seconds and bytes at a site and at the server, all in one process.

Usage: masking.py [--parameters N] [--sites N ...]; one line a consortium and number of sites that drop out.
"""

import argparse
import time
from contextlib import contextmanager

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from looks import this_machine

from ra_core.fixed_point import WeightedSum, encode
from ra_core.keys import fingerprint
from ra_core.masking import Figures, Member, Roll, Tally, Terms, Totals, round_layout
from ra_core.masking.figures import COUNTS

METRICS = ("error", "kl_real", "validation_error")


class Clock:
    """Seconds by name, added up."""

    def __init__(self):
        self.seconds = {}

    @contextmanager
    def timing(self, name):
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--parameters", type=int, default=2_400_000)
    parser.add_argument("--sites", type=int, nargs="+", default=[3, 8, 32])
    given = parser.parse_args()
    print(this_machine(1, "numpy", "cryptography"))
    print("seconds; KB: what a site sends and gets in messages, the vector apart")
    print("sites threshold dropped | site: pack masks rest sent got | server: add unmask | plain: add")
    for count in given.sites:
        for dropped in sorted({0, count - threshold_of(count)}):
            print(line(count, dropped, given.parameters))
    masked, bare = 8 * round_layout({"w": (given.parameters,)}, METRICS, 3).size, 4 * given.parameters
    print(f"vector: {masked:,} bytes masked, {bare:,} bytes plain, {masked / bare:.2f} x")


def threshold_of(count):
    """More than two thirds: three sites of three, six of eight, 22 of 32."""
    return 2 * count // 3 + 1


def line(count, dropped, parameters):
    site, server, plain = Clock(), Clock(), Clock()
    identities = {f"s{number:03d}": Ed25519PrivateKey.generate() for number in range(count)}
    pins = {name: fingerprint(key.public_key()) for name, key in identities.items()}
    layout = round_layout({"w": (parameters,)}, METRICS, count)
    terms = Terms("benchmark", 1, pins, threshold_of(count), layout)
    figures = some_figures(parameters)

    with site.timing("rest"):
        begun = {name: Member.announce(terms, name, key) for name, key in identities.items()}
    members, heard = {name: member for name, (member, _) in begun.items()}, [message for _, message in begun.values()]
    with site.timing("rest"):
        dealings = [member.deal(heard) for member in members.values()]
    with server.timing("add"):
        tally = Tally(Roll.of(terms, heard), dealings)
    there, inputs, total = list(members.values())[dropped:], [], WeightedSum({"w": (parameters,)})
    for member in there:
        with site.timing("pack"):
            words = figures.pack(layout)
        with site.timing("masks"):
            message, masked = member.mask(dealings, words)
        with server.timing("add"):
            tally.add(message, masked)
        with plain.timing("add"):
            total.add(figures.update, figures.counts["n_images"])
        inputs.append(message)
    survivors = tally.close()
    with site.timing("rest"):
        confirmations = [member.confirm(survivors) for member in there]
        reveals = [member.reveal(confirmations) for member in there]
    with server.timing("unmask"):
        for message in reveals:
            tally.reveal(message)
        found = Totals.unpack(layout, tally.unmask(), len(survivors))
    if found.update.mean()["w"].tobytes() != total.mean()["w"].tobytes():
        raise SystemExit("masked and plain means differ")

    each = {name: seconds / (count if name == "rest" else len(there)) for name, seconds in site.seconds.items()}
    up = size(message_of[-1] for message_of in (heard, dealings, inputs, confirmations, reveals))
    down = size(heard) + size(dealings) + size(confirmations)
    return (
        f"{count:5d} {terms.threshold:9d} {dropped:7d} | {each['pack']:.3f} {each['masks']:.3f} {each['rest']:.3f} "
        f"{up / 1000:.1f} {down / 1000:.1f} | {server.seconds['add']:.3f} {server.seconds['unmask']:.3f} "
        f"| {plain.seconds['add']:.3f}"
    )


def some_figures(parameters):
    update = encode(np.random.default_rng(0).normal(scale=1e-3, size=parameters))
    return Figures({"w": update}, dict.fromkeys(COUNTS, 1000), dict.fromkeys(METRICS, 0.1))


def size(messages):
    return sum(len(message.to_bytes()) for message in messages)


if __name__ == "__main__":
    main()
