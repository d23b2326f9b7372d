"""How tests see that a file is refused."""

import pytest

from ra_core.data.readers import read_pixels
from ra_core.data.readers.reading import USUAL
from ra_core.errors import DataError


def refused(path, code, reading=USUAL, frame=0):
    """The error of a picture that may not be read, told as any error of a file is."""
    with pytest.raises(DataError) as caught:
        read_pixels(path, reading, frame)
    assert caught.value.code == code, caught.value
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert caught.value.__suppress_context__  # a library's message may quote a patient's data
    return caught.value
