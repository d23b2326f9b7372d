"""Items made ahead in a thread."""

import threading
import time
from contextlib import closing

import pytest

from ra_core.ahead import ahead


def test_items_come_in_their_order_and_all_of_them():
    assert list(ahead(iter(range(20)))) == list(range(20))
    assert list(ahead(())) == []
    assert list(ahead([None, False])) == [None, False]


def test_at_most_one_item_waits():
    made = []

    def items():
        for number in range(5):
            made.append(number)
            yield number

    with closing(ahead(items())) as found:
        for number in found:
            time.sleep(0.01)  # time to run on, if it would
            assert max(made) <= number + 1


def test_the_next_is_made_while_one_is_used():
    asked = threading.Event()

    def items():
        yield 1
        asked.set()
        yield 2

    with closing(ahead(items())) as found:
        assert next(found) == 1
        assert asked.wait(10)


def test_what_an_item_raises_comes_in_its_place():
    def items():
        yield 1
        raise OSError("the disk is gone")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(OSError, match="disk"):
        next(found)


def test_no_thread_is_left_when_it_is_closed():
    before = threading.active_count()
    with closing(ahead(iter(range(9)))) as found:
        next(found)
    assert threading.active_count() == before
