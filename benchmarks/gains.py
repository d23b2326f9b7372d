"""What single changes gain in a training step of RA: the step with all of them, and with each one taken back."""

import contextlib
from unittest.mock import patch

import torch
from steps import step_of
from timing import tell_turns
from torch import nn

from ra_core.models.blocks import FrozenBatchNorm2d, GroupNorm
from ra_core.models.encoder_decoder import EncoderDecoder


def tell_gains(config, precision, x, given):
    """Print what a step takes with all changes, and without each."""
    steps = {"all": step_of(config, precision, x, given)}
    for name, taken_back in changes(config).items():
        with taken_back():
            step = step_of(config, precision, x, given)
        steps[f"without {name}"] = within(taken_back, step)
    tell_turns(f"what single changes gain, {precision}", steps, given)


def changes(config):
    """By name, contexts in which each is taken back; none that the settings don't use."""
    found = {"channels-last maps": contiguous}
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


def theirs():
    return patch.object(GroupNorm, "forward", nn.GroupNorm.forward)


@contextlib.contextmanager
def contiguous():
    """Group norms are torch's own then: plane by plane, with a copy to channels-last, is for that layout alone."""
    with patch.object(EncoderDecoder, "memory_format", torch.contiguous_format), theirs():
        yield


def by_itself(norm, convolution, x):
    return norm(convolution(x))
