"""Bytes of a round, and what lossless compression makes of them: a real model and the updates that leave a site.

An update is int32 codes, multiples of 2^-24; `policy.update_type` rounds them to bfloat16's digits, sent as int32 too.
"Planes" are all first bytes, then all second bytes, and so on: bytes that say the same lie together then.
"""

import argparse
import lzma
import time
import zlib

import numpy as np
import torch
from looks import this_machine

from ra_core.clipping import truncated
from ra_core.config import RuntimeConfig, TrainingConfig
from ra_core.data import HeldImages
from ra_core.fixed_point import decode, encode
from ra_core.messages.packing import pack, unpack
from ra_core.models.configs import RAConfig
from ra_core.models.registry import build_method
from ra_core.runtime import Runtime
from ra_core.training import LocalTrainer
from simulation.cohort import CohortConfig, virtual_patient

SIDE, PATIENTS, BFLOAT16_DIGITS = 64, 24, 8
PACKERS = {
    "zlib, level 1": lambda data: zlib.compress(data, 1),
    "zlib, level 6": lambda data: zlib.compress(data, 6),
    "lzma, level 0": lambda data: lzma.compress(data, preset=0),
}


def patients():
    """Virtual patients of one hospital, one image each."""
    config = CohortConfig(size=SIDE)
    hospital = config.hospitals[0]
    found = [virtual_patient(config, hospital, "train", number).image for number in range(PATIENTS)]
    return HeldImages(torch.from_numpy(np.stack(found)[:, None]).float())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="the last one's update is looked at, and the first one's")
    parser.add_argument("--steps", type=int, default=5, help="of a site in a round")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that all works")
    given = parser.parse_args()
    runtime = Runtime.resolve(RuntimeConfig(threads=torch.get_num_threads()), "auto")
    print(this_machine(runtime.threads, "numpy"))
    config = RAConfig(warmup_steps=0, **({"channels": [4, 8], "latent": 8} if given.quick else {}))
    method, rounded, images = build_method(config, SIDE, 0), build_method(config, SIDE, 0), patients()
    kind = "tiny" if given.quick else "preset small"
    print(f"RA, {kind}, {SIDE} x {SIDE}, {PATIENTS} virtual patients, {given.steps} steps a round")
    for number in range(1, given.rounds + 1):
        codes = one_round(method, images, runtime, number, given.steps)
        one_round(rounded, images, runtime, number, given.steps, BFLOAT16_DIGITS)
        if number in (1, given.rounds):
            tell(f"update of round {number}, exact", codes)
            tell(f"update of round {number}, bfloat16", short(codes, BFLOAT16_DIGITS))
    tell("model, float32", weights(method).astype(np.float32))
    errors = [healthy_error(one, images) for one in (method, rounded)]
    print("error on these images after the last round: ", end="")
    print("exact {:.6f}, bfloat16 {:.6f}, {:.4f} x".format(*errors, errors[1] / errors[0]))


def one_round(method, images, runtime, number, steps, digits=None):
    """The update as it leaves a site: codes of all weights, one after another; the model has taken it when this ends.

    With `digits`, no more of each code than these leading ones.
    """
    before, start = weights(method), (number - 1) * steps
    end = start + steps
    training = TrainingConfig(steps=end + 1, validate_every=end + 1)
    LocalTrainer(method, images, images, training, runtime, 0, start).run(end)
    codes = encode(weights(method) - before)
    codes = codes if digits is None else short(codes, digits)
    take(method, before + decode(codes))
    return codes


def short(codes, digits):
    return truncated({"all": codes}, digits)["all"]


def take(method, values):
    """Give a method these weights, one after another."""
    parameters = list(method.parameters())
    pieces = torch.from_numpy(values).split([parameter.numel() for parameter in parameters])
    with torch.no_grad():
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.copy_(piece.view(parameter.shape))


def healthy_error(method, images):
    with torch.inference_mode():
        return float(method.eval().healthy_error(images.images(range(len(images)))).mean())


def weights(method):
    return np.concatenate([tensor.detach().double().numpy().ravel() for tensor in method.parameters()])


def tell(what, values):
    raw = values.tobytes()
    planes = np.frombuffer(raw, np.uint8).reshape(-1, values.itemsize).T.tobytes()
    print(f"{what}: {len(raw):,} bytes, {entropy(values):.1f} of 32 bits a weight if weights were told one by one")
    for layout, data in (("as it is", raw), ("planes", planes)):
        for name, packer in PACKERS.items():
            begun = time.perf_counter()
            packed = packer(data)
            seconds = time.perf_counter() - begun
            print(f"  {layout:9s} {name}: {len(packed):10,} bytes, {len(packed) / len(raw):4.0%}, {seconds:5.2f} s")
    begun = time.perf_counter()
    sent = pack({"all": values}, compress=True)
    packed = time.perf_counter()
    same = np.array_equal(unpack(sent, values.dtype)["all"], values)
    read = time.perf_counter() - packed
    bits = "the same" if same else "OTHER"
    ratio = f"{len(raw) / len(sent.data):.2f} x"
    times = f"{packed - begun:.2f} s and {read:.2f} s back"
    print(f"  federation.compress: {len(sent.data):,} bytes, {ratio} less, {bits} bits; {times}")


def entropy(values):
    """Shannon's, in bits a weight, from how often each value is there; where few repeat, as in a model, it is low."""
    _, counts = np.unique(values, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


if __name__ == "__main__":
    main()
