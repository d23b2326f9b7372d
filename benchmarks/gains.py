"""What single changes gain in a training step of RA: the step with all of them, and with each one taken back."""

import contextlib
from unittest.mock import patch

import torch
from steps import step_of
from timing import in_turns
from torch import nn

from ra_core.models.blocks import FrozenBatchNorm2d, GroupNorm
from ra_core.models.encoder_decoder import EncoderDecoder
from ra_core.models.ra import RA

latents = RA._latents


def told_gains(config, precision, x, given):
    """Print milliseconds of each, and how often the step with all goes into the step without one."""
    steps = {"all": step_of(config, precision, x, given)}
    for name, taken_back in changes(config).items():
        with taken_back():
            step = step_of(config, precision, x, given)
        steps[f"without {name}"] = within(taken_back, step)
    for step in steps.values():
        step()  # the first one chooses convolutions
    seconds = in_turns(steps, given)
    print(f"\nwhat single changes gain, {precision}; median of {given.repeats}")
    for name, took in seconds.items():
        print(f"  {name:60}{took * 1e3:10.1f} ms{took / seconds['all']:7.2f} x")


def changes(config):
    """By name, contexts in which each is taken back; none that the settings don't use."""
    found = {
        "x_f decoded apart, with no way back to the encoder": lambda: patch.object(RA, "_latents", joined),
        "channels-last maps, and with them norms plane by plane": contiguous,
    }
    if config.norm == "group":
        found["group norms plane by plane"] = theirs
    if config.norm == "frozen_batch":
        found["frozen batch norms folded into filters"] = lambda: patch.object(FrozenBatchNorm2d, "after", by_itself)
    return found


def within(context, work):
    def done():
        with context():
            return work()

    return done


@staticmethod
def joined(*given):
    return (torch.cat(latents(*given)),)


def theirs():
    return patch.object(GroupNorm, "forward", nn.GroupNorm.forward)


@contextlib.contextmanager
def contiguous():
    with patch.object(EncoderDecoder, "memory_format", torch.contiguous_format), theirs():
        yield


def by_itself(norm, convolution, x):
    return norm(convolution(x))
