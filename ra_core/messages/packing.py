"""Arrays on their way: all those of a part of a message as one of Flower's, packed without loss where a study asks.

Flower sends each of its arrays by itself, with requests and entries in a database at each of three stops; a model has
80. As one they took 17 of 44 seconds' overhead off a round of two sites on two cores
(docs/running_a_consortium.md). The one holds what a safetensors file does: a header of names, types, shapes and places,
then the values. Reading it runs nothing.

Changes of weights are small numbers, so that their high bytes are nearly all alike. To pack them, the first bytes of
all values are put together, then all second ones, and so on; zlib (RFC 1950) at its fastest level finds what repeats.
`benchmarks/traffic.py` prints what that saves.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import Array
from numpy.typing import NDArray
from safetensors.numpy import load, save

__all__ = ["PACKED", "PLAIN", "pack", "unpack"]

PLAIN, PACKED = "safetensors", "safetensors.planes.zlib"
"""Types of the one array, where Flower's own say `numpy.ndarray`."""

MOST = 64
"""How many times as large as their packed bytes arrays may be; who reads them sets aside twice that, in two orders."""

_WIDTH = 4  # bytes of a weight, and of a code of an update
_LEVEL = 1


def pack(found: Mapping[str, NDArray[Any]], compress: bool = False) -> Array:
    """Arrays by name as one of Flower's.

    Args:
        found: by name, of any shape.
        compress: without loss, where that makes it smaller; for numbers of four bytes.
    """
    content = save({name: np.asarray(array, order="C") for name, array in found.items()})
    packed = _in_planes(content) if compress and len(content) % _WIDTH == 0 else content
    small_enough = len(content) / MOST <= len(packed) < len(content)
    kind, data = (PACKED, packed) if small_enough else (PLAIN, content)
    return Array("uint8", (len(content),), kind, data)


def unpack(sent: Array, dtype: np.dtype[Any]) -> dict[str, NDArray[Any]]:
    """What `pack` was given, from whoever sent it.

    Args:
        sent: by `pack`, or so it says.
        dtype: that all arrays have to have.

    Raises:
        Exception: it is of no known type, its arrays of another, or it holds more or less than it says, or more than
            `MOST` times its bytes.
    """
    if sent.stype not in (PLAIN, PACKED):
        raise ValueError("another kind of array")
    found: dict[str, NDArray[Any]] = load(_from_planes(sent) if sent.stype == PACKED else sent.data)
    if any(array.dtype != dtype for array in found.values()):
        raise ValueError("another type")
    return found


def _in_planes(content: bytes) -> bytes:
    planes = np.frombuffer(content, np.uint8).reshape(-1, _WIDTH).T
    return zlib.compress(planes.tobytes(), _LEVEL)


def _from_planes(sent: Array) -> bytes:
    (size,) = sent.shape
    if type(size) is not int or not 0 < size <= MOST * len(sent.data) or size % _WIDTH:
        raise ValueError("more than was packed")
    stream = zlib.decompressobj()
    planes = stream.decompress(sent.data, size)
    rest = stream.decompress(stream.unconsumed_tail, 1)  # where nothing is left, the end may not have been read yet
    if len(planes) != size or rest or not stream.eof or stream.unused_data:
        raise ValueError("another size")
    return np.frombuffer(planes, np.uint8).reshape(_WIDTH, -1).T.tobytes()
