"""SHA-256 of tensors by content: the model hash, and the identity of a pretrained network."""

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["tensor_digest"]

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over all tensors sorted by name: name, dtype, shape and little-endian bytes of each.

    It depends on neither the order of the mapping, nor the device, nor the memory layout. It tells 0.0 from -0.0.

    Args:
        tensors: dense, real-valued tensors of any dtype and shape.

    >>> a, b = torch.zeros(2), torch.ones(3)
    >>> tensor_digest({"a": a, "b": b}) == tensor_digest({"b": b, "a": a})
    True
    >>> tensor_digest({"a": a}) == tensor_digest({"a": a.double()})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        header = [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        digest.update(json.dumps(header).encode() + b"\n")
        digest.update(_little_endian(tensor))
    return digest.hexdigest()


def _little_endian(tensor: Tensor) -> bytes:
    """The elements' bytes in row-major order; seen as integers, because NumPy knows no bfloat16."""
    integers = tensor.detach().cpu().contiguous().view(_INTEGERS[tensor.element_size()]).numpy()
    return integers.astype(integers.dtype.newbyteorder("<"), copy=False).tobytes()
