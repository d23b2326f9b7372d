"""Arrays packed without loss: the bits are the same on the other side, and fewer bytes are on the way.

Changes of weights are small numbers, so that their high bytes are nearly all alike. The first bytes of all values are
put together, then all second ones, and so on; zlib (RFC 1950) at its fastest level finds what repeats.
`benchmarks/traffic.py` prints what that saves.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
from flwr.app import Array
from numpy.typing import NDArray

__all__ = ["PACKED", "pack", "plain", "unpack"]

PACKED = "planes.zlib"
"""Type of a packed array, where Flower's own say `numpy.ndarray`."""

MOST = 64
"""How many times as large as its packed bytes an array may be; who reads one sets aside twice that, its bytes in two
orders."""

_LEVEL = 1


def plain(array: NDArray[Any]) -> Array:
    """An array as Flower sends it by itself."""
    return Array(np.asarray(array, order="C"))


def pack(array: NDArray[Any]) -> Array:
    """An array of numbers, packed where that makes it smaller; as Flower sends it otherwise."""
    values = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    planes = values.reshape(-1).view(np.uint8).reshape(-1, values.itemsize).T
    packed = zlib.compress(planes.tobytes(), _LEVEL)
    if not values.nbytes / MOST <= len(packed) < values.nbytes:
        return plain(array)
    return Array(str(array.dtype), tuple(array.shape), PACKED, packed)


def unpack(array: Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    """What `pack` has packed.

    Args:
        array: of the type `PACKED`, from whoever sent it.
        dtype: that it has to have.

    Raises:
        Exception: it has another type, more or fewer values than its shape says, or more than `MOST` times its bytes.
    """
    if array.dtype != str(dtype) or not all(type(side) is int and side >= 0 for side in array.shape):
        raise ValueError("another type, or no shape")
    size = math.prod(array.shape) * dtype.itemsize
    if not 0 < size <= MOST * len(array.data):
        raise ValueError("more than was packed")
    stream = zlib.decompressobj()
    planes = stream.decompress(array.data, size)
    rest = stream.decompress(stream.unconsumed_tail, 1)  # where nothing is left, the end may not have been read yet
    if len(planes) != size or rest or not stream.eof or stream.unused_data:
        raise ValueError("another size")
    values = np.frombuffer(planes, np.uint8).reshape(dtype.itemsize, -1).T.copy().view(dtype.newbyteorder("<"))
    return values.astype(dtype, copy=False).reshape(array.shape)
