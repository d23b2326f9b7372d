"""What is known of a study before it is scored, read in a thread while another is scored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ra_core.data import content_hash
from ra_core.errors import DataError
from ra_core.finding import Item
from ra_core.studies import Study, Terms

__all__ = ["Read", "content_of", "opened"]


class Read(NamedTuple):
    """An item that was read ahead: SHA-256 over its files, and the study, or why it can't be opened; None if known."""

    item: Item
    content: str
    study: Study | DataError | None


def opened(item: Item, terms: Terms) -> Study | DataError:
    """The study, a single picture decoded already; of more pictures none is, since memory is that of one volume."""
    try:
        study = item.open(terms)
    except DataError as error:
        return error
    try:
        raw = study.picture(0) if study.count == 1 else None
    except DataError:  # scoring will tell
        raw = None
    return study if raw is None else replace(study, picture=lambda _: raw)


def content_of(files: Sequence[Path]) -> str:
    """SHA-256 over the bytes of all files, in their order; of their number alone where one can't be read."""
    digest = hashlib.sha256()
    for path in files:
        try:
            if not path.is_file():  # reading a pipe would wait for ever
                raise DataError(f"{path}: no regular file")
            digest.update(bytes.fromhex(content_hash(path)))
        except DataError:  # opening it will tell why
            return hashlib.sha256(f"{len(files)} files, not readable".encode()).hexdigest()
    return digest.hexdigest()
