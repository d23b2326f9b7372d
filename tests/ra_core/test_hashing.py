import hashlib
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ra_core.hashing import array_digest, tensor_digest


def test_digest_is_the_stated_bytes() -> None:
    tensors = {"é": torch.tensor([[1.0, -2.0]]), "a": torch.tensor(7, dtype=torch.int64)}
    stated = b'["a", "int64", []]\n' + struct.pack("<q", 7)
    stated += b'["\\u00e9", "float32", [1, 2]]\n' + struct.pack("<2f", 1.0, -2.0)
    assert tensor_digest(tensors) == hashlib.sha256(stated).hexdigest()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.bfloat16, torch.float64])
def test_every_real_dtype_and_layout(dtype: torch.dtype) -> None:
    x = torch.arange(6).reshape(2, 3).to(dtype)
    digest = tensor_digest({"x": x})
    if dtype != torch.bfloat16:
        assert digest == array_digest({"x": x.numpy()}) == array_digest({"x": x.t().contiguous().numpy().T})
    assert digest == tensor_digest({"x": x.t().contiguous().t()})
    assert digest != tensor_digest({"x": x.reshape(3, 2)})
    assert digest != tensor_digest({"x": x.flip(0)})


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "int32", "float64", "int64", "uint8", "bool"])
def test_an_array_has_the_digest_of_its_tensor(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    digest = tensor_digest({"x": torch.from_numpy(array.copy())})
    array.flags.writeable = False
    for same in (array, array.astype(array.dtype.newbyteorder(">")), array.copy(order="F")):
        assert array_digest({"x": same}) == digest


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match="'x' is of object"):
        array_digest({"x": np.array([None])})


def test_empty_and_parameter() -> None:
    assert tensor_digest({}) == hashlib.sha256().hexdigest()
    assert tensor_digest({"x": torch.empty(0, 3)}) != tensor_digest({"x": torch.empty(3, 0)})
    assert tensor_digest({"x": torch.nn.Parameter(torch.ones(2))}) == tensor_digest({"x": torch.ones(2)})


@given(st.dictionaries(st.text(max_size=4), st.lists(st.integers(-9, 9), max_size=4), max_size=4), st.randoms())
def test_equal_exactly_for_equal_contents(contents: dict[str, list[int]], random) -> None:
    items = [(name, torch.tensor(values, dtype=torch.int32)) for name, values in contents.items()]
    digest = tensor_digest(dict(items))
    random.shuffle(items)
    assert tensor_digest(dict(items)) == digest
    for name, tensor in items:
        assert tensor_digest({**dict(items), name: tensor.to(torch.int64)}) != digest
        if len(tensor):
            assert tensor_digest({**dict(items), name: tensor + 1}) != digest
