import pickle

import pytest

from ra_core import errors
from ra_core.errors import DataError, RAError

KINDS = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_gets_all_of_an_error(kind):
    there = pickle.loads(pickle.dumps(kind("what", "how")))  # noqa: S301 - our own bytes
    assert (type(there), there.message, there.hint, str(there)) == (kind, "what", "how", "what")


def test_the_code_goes_along():
    assert pickle.loads(pickle.dumps(DataError("what", "how", "truncated"))).code == "truncated"  # noqa: S301


def test_every_kind_has_a_number_of_its_own():
    codes = [kind.exit_code for kind in KINDS if kind is not RAError]
    assert len(set(codes)) == len(codes)
    assert not set(codes) & {0, 1, 2, 130}
