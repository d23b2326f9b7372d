"""SHA-256 of tensors and arrays by content: the model hash, and the identity of a pretrained network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:  # a message has arrays: who hashes them needs no torch, which takes 3 s to load
    from torch import Tensor

__all__ = ["array_digest", "tensor_digest"]


def array_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """As `tensor_digest`, of arrays of numbers or booleans; an array and the tensor made of it have the same.

    Raises:
        TypeError: an array of something else.

    >>> import numpy as np, torch
    >>> array = np.ones(3, dtype=np.float32)
    >>> array_digest({"a": array}) == tensor_digest({"a": torch.from_numpy(array)})
    True
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise TypeError(f"'{name}' is of {array.dtype}, not of numbers")
    return _digest((name, array.dtype.name, array.shape, array) for name, array in sorted(arrays.items()))


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
    return _digest(
        (name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), _integers(tensor))
        for name, tensor in sorted(tensors.items())
    )


def _digest(named: Iterable[tuple[str, str, tuple[int, ...], NDArray[Any]]]) -> str:
    digest = hashlib.sha256()
    for name, dtype, shape, array in named:
        digest.update(json.dumps([name, dtype, list(shape)]).encode() + b"\n")
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def _integers(tensor: Tensor) -> NDArray[Any]:
    """The elements seen as integers, because NumPy knows no bfloat16."""
    import torch  # noqa: PLC0415 - there already, since somebody made the tensor

    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.detach().cpu().contiguous().view(integers[tensor.element_size()]).numpy()
