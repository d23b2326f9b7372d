import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from ra_core.models.blocks import FrozenBatchNorm2d, GroupNorm, normed
from ra_core.models.configs import CONFIGS
from ra_core.models.method import GradientMethod
from ra_core.models.registry import build_method

CHANNELS = 8


def maps(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)


def with_drawn_tensors(norm):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in norm.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 2.0, generator=generator)
    return norm


def torchs_own(norm, kind):
    own = kind(norm.num_groups, CHANNELS) if kind is nn.GroupNorm else kind(CHANNELS).eval()
    own.load_state_dict(norm.state_dict())
    return own


def gradients(output, *inputs):
    return torch.autograd.grad((output * maps(*output.shape)).sum(), inputs)


def test_group_norm_is_torchs_and_lies_channels_last():
    norm = with_drawn_tensors(GroupNorm(2, CHANNELS))
    x = maps(3, CHANNELS, 5, 4).requires_grad_()
    own = torchs_own(norm, nn.GroupNorm)
    found, expected = norm(x), own(x.contiguous())
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(
        gradients(found, x, *norm.parameters()), gradients(expected, x, *own.parameters()), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_group_norm_of_each_image_alone():
    norm = with_drawn_tensors(GroupNorm(2, CHANNELS))
    x = maps(3, CHANNELS, 5, 4)
    alone = vmap(grad(lambda image: norm(image[None]).square().sum()))(x)
    together = grad(lambda images: norm(images).square().sum())(x)
    torch.testing.assert_close(alone, together)


def test_a_frozen_batch_norm_folded_into_its_filters_is_torchs_after_the_convolution():
    norm = with_drawn_tensors(FrozenBatchNorm2d(CHANNELS)).train()
    convolution = nn.Conv2d(3, CHANNELS, 3, stride=2, padding=1, bias=False)
    x = maps(2, 3, 9, 9).requires_grad_()
    own = torchs_own(norm, nn.BatchNorm2d)
    found, expected = normed(convolution, norm, x), own(convolution(x))
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        gradients(found, x, convolution.weight, *norm.parameters()),
        gradients(expected, x, convolution.weight, *own.parameters()),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_method_lies_in_memory_as_it_says_from_the_first(name):
    method = build_method(CONFIGS[name](), 32, 0)
    if not isinstance(method, GradientMethod):
        pytest.skip("takes no steps")
    for weights in (p for p in method.parameters() if p.dim() == 4):
        assert weights.is_contiguous(memory_format=method.memory_format)
