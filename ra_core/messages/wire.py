"""Records as Flower carries them: how plain fields and arrays become one, and are read back from whatever came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, get_type_hints

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray
from pydantic import ValidationError

from ra_core.config import DIGEST, SITE_NAME, StudyConfig
from ra_core.errors import VersionError
from ra_core.installed import package_hash
from ra_core.messages.packing import pack, unpack

__all__ = ["SITE_FAILED", "MessageError", "Model", "ModelOrder", "Order", "Reply", "arrays", "numpy_arrays"]

Model = Mapping[str, NDArray[np.float32]]
"""Shared tensors by "part.name"."""

SITE_FAILED = 1000
"""Code of a site's own error reply. Its reason is "KIND at SITE", no more: texts may name files or patients."""

_LONGEST_TEXT = 1 << 20
_ALL = "all"  # name of the one array that a part has


class MessageError(ValueError):
    """A message is not what the contract says; the text names what is wrong and holds no content of it."""


@dataclass(frozen=True)
class Order:
    """Server to site: what every order begins with.

    Attributes:
        study: settings, the same for all sites.
        run: name of the run, which tells two runs of one study apart.
        package_hash: of the packages installed at the server; a site with others does nothing.
        ledger_length: lines of the site's ledger that the server has acknowledged with this; 0 where it knows of none.
        ledger_head: hash of the last of them; empty where there is none.
    """

    study: StudyConfig
    run: str
    package_hash: str
    ledger_length: int = field(default=0, kw_only=True)
    ledger_head: str = field(default="", kw_only=True)

    def fields(self) -> ConfigRecord:
        """All fields but arrays."""
        found: dict[str, Any] = {name: getattr(self, name) for name in _plain(type(self))}
        return ConfigRecord(found | {"study": self.study.model_dump_json()})

    def to_record(self) -> RecordDict:
        """As Flower sends it."""
        return RecordDict({"order": self.fields()})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """From what Flower received; each kind of order says what else it checks.

        Raises:
            VersionError: the server has other packages.
            MessageError: a part is missing, unknown, of the wrong type or out of range.
        """
        return cls(**cls.read(record))

    @classmethod
    def read(cls, record: RecordDict, *others: str) -> dict[str, Any]:
        """The fields that `fields` gave.

        Args:
            record: that came.
            others: parts that have to be there beside "order".

        Raises:
            VersionError: the server has other packages, which may give the fields another meaning.
            MessageError: a part is missing, unknown, of the wrong type or out of range; or what is acknowledged can't
                be; or the study is of a method that knows single images, which no order can have from a site.
        """
        found = record.config_records.get("order")
        if found is None or found.get("package_hash") != package_hash():
            raise VersionError(
                "the server has another version of federated-ra than this site",
                "install the version that the consortium's operator names, at all sites and at the server",
            )
        _require_parts(record, {"order", *others})
        order = _fields(record, "order", {"study": str} | _plain(cls))
        if not (order["run"].isprintable() and 0 < len(order["run"]) <= 128):
            raise MessageError("'order.run' is no name")
        if order["ledger_length"] or order["ledger_head"]:
            _require_head(order)
        try:
            study = StudyConfig.model_validate_json(order["study"])
        except ValidationError as error:
            raise MessageError(f"the study's settings are not valid ({error.error_count()} errors)") from None
        if study.why_local:
            raise MessageError(study.why_local)
        return order | {"study": study}


@dataclass(frozen=True)
class ModelOrder(Order):
    """Server to site: what every order with a model begins with.

    Attributes:
        model: shared tensors by "part.name".
    """

    model: Model

    def to_record(self, model: ArrayRecord | None = None) -> RecordDict:
        """As Flower sends it.

        Args:
            model: what `arrays` gives of the model, where several orders share it.
        """
        if model is None:
            model = arrays(self.model, self.study.federation.compress)
        return RecordDict({"order": self.fields(), "model": model})

    @classmethod
    def read(cls, record: RecordDict, *others: str) -> dict[str, Any]:
        """What `Order.read` gives, and the model.

        Raises:
            VersionError: the server has other packages.
            MessageError: as in `Order.read`, or an array can't be read or is no float32.
        """
        order = super().read(record, "model", *others)
        return order | {"model": numpy_arrays(record, "model", np.dtype(np.float32))}


@dataclass(frozen=True)
class Reply:
    """Site to server: what every reply begins with.

    Attributes:
        site: name in the consortium, of the form `SITE_NAME`.
        ledger_length: lines of the site's ledger, the one about this reply included; 0 before it was written.
        ledger_head: hash of that line.
    """

    site: str
    ledger_length: int = field(default=0, kw_only=True)
    ledger_head: str = field(default="", kw_only=True)

    def fields(self) -> ConfigRecord:
        """All fields but metrics and arrays."""
        return ConfigRecord({name: getattr(self, name) for name in _plain(type(self))})

    def to_record(self) -> RecordDict:
        """As Flower sends it."""
        return RecordDict({"facts": self.fields()})

    @classmethod
    def read(cls, record: RecordDict, *others: str) -> dict[str, Any]:
        """The fields that `fields` gave.

        Raises:
            MessageError: a part is missing, unknown, of the wrong type or form. Values are not judged here.
        """
        _require_parts(record, {"facts", *others})
        facts = _fields(record, "facts", _plain(cls))
        if not SITE_NAME.fullmatch(facts["site"]):
            raise MessageError("the site's name is too long or has characters that names don't have")
        _require_head(facts)
        return facts


def arrays(found: Mapping[str, NDArray[Any]], compress: bool = False) -> ArrayRecord:
    """Arrays by name, as Flower sends them: all as one.

    Args:
        found: by name.
        compress: without loss, where they become smaller by it.
    """
    return ArrayRecord({_ALL: pack(found, compress)})


def numpy_arrays(record: RecordDict, part: str, dtype: np.dtype[Any]) -> dict[str, NDArray[Any]]:
    """What `arrays` gave.

    Raises:
        MessageError: there is no such part, or an array is of another type or can't be read.
    """
    found = record.array_records.get(part)
    if found is None or set(found) != {_ALL}:
        raise MessageError(f"'{part}' holds no arrays")
    try:
        return unpack(found[_ALL], dtype)
    except Exception:  # of many kinds: each library on the way has its own
        raise MessageError(f"the arrays of '{part}' can't be read, or one is not {dtype}") from None


def _plain(kind: type) -> dict[str, type]:
    """A message's texts, whole numbers and floats, by name."""
    return {name: hint for name, hint in get_type_hints(kind).items() if hint in (str, int, float)}


def _require_parts(record: RecordDict, expected: set[str]) -> None:
    if set(record) != expected:
        raise MessageError(f"the message has other parts than {', '.join(sorted(expected))}")


def _require_head(fields: Mapping[str, Any]) -> None:
    """A ledger's length and head, together."""
    if fields["ledger_length"] < 1 or not DIGEST.fullmatch(fields["ledger_head"]):
        raise MessageError("a ledger's length or head can't be")


def _fields(record: RecordDict, part: str, expected: Mapping[str, type]) -> dict[str, Any]:
    found = record.config_records.get(part)
    if found is None or set(found) != set(expected):
        raise MessageError(f"'{part}' has other fields than {', '.join(expected)}")
    for name, kind in expected.items():
        value = found[name]
        if type(value) is not kind or (isinstance(value, str) and len(value) > _LONGEST_TEXT):
            raise MessageError(f"'{part}.{name}' is not of type {kind.__name__}, or too long")
    return dict(found)
