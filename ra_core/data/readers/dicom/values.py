"""Tags of a header that may hold anything: what can be used of a value, or nothing; never an error."""

from __future__ import annotations

import math

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

__all__ = ["first_item", "is_empty", "number", "numbers", "text", "texts", "value", "whole"]


def value(ds: Dataset, name: str) -> object:
    """What pydicom makes of the tag; None where it is missing or nothing can be made of it."""
    try:
        return ds.get(name)
    except Exception:  # a value is converted when it is asked for, and then anything is raised
        return None


def is_empty(ds: Dataset, name: str) -> bool:
    """Whether the tag is missing or has no value; nonsense is a value."""
    return name not in ds or ds.get_item(name).value in (None, b"", "")


def number(ds: Dataset, name: str) -> float | None:
    """The first of the tag's values, finite; None where there is none or it is no number."""
    found = _values(ds, name)
    return _finite(found[0]) if found else None


def numbers(ds: Dataset, name: str, count: int) -> tuple[float, ...] | None:
    """All values of a tag that has to hold `count` finite numbers; None where it doesn't."""
    found = _values(ds, name)
    finite = tuple(n for n in map(_finite, found) if n is not None)
    return finite if len(finite) == len(found) == count else None


def whole(ds: Dataset, name: str) -> int | None:
    """The first of the tag's values as a whole number; None where it is none."""
    found = number(ds, name)
    return int(found) if found is not None and found == int(found) else None


def text(ds: Dataset, name: str) -> str:
    """The first of the tag's values without spaces around it; empty where there is none."""
    return next(iter(texts(ds, name)), "")


def texts(ds: Dataset, name: str) -> tuple[str, ...]:
    """All values of a tag as text without spaces around it."""
    return tuple(str(one).strip(" \0\t\r\n") for one in _values(ds, name))


def first_item(ds: Dataset, name: str) -> Dataset | None:
    """The first item of a sequence; None where there is none."""
    items = value(ds, name)
    return items[0] if isinstance(items, Sequence) and items else None


def _values(ds: Dataset, name: str) -> list[object]:
    found = value(ds, name)
    if isinstance(found, MultiValue | list):
        return list(found)
    return [] if found in (None, "", b"") or isinstance(found, Sequence) else [found]


def _finite(one: object) -> float | None:
    try:
        found = float(str(one))
    except ValueError:
        return None
    return found if math.isfinite(found) else None
