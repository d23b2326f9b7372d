"""The lines of a ledger: each holds the hash of the one before it, so that none can be changed, moved or taken out.

A line is JSON with sorted keys and without spaces; its `hash` is SHA-256 over the same JSON without that key. A line
that was written in any other way, however equal in meaning, is no line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

from client.ledger.line import EMPTY, Head, Line
from ra_core.errors import LedgerError

__all__ = ["LONGEST_LINE", "faulty", "read_lines"]

LONGEST_LINE = 1 << 24
"""Bytes; a line about a model of ten thousand tensors has a tenth of it."""


def read_lines(file: BinaryIO, head: Head = EMPTY) -> Iterator[Line]:
    """The lines of a ledger, each checked against the one before it. What follows the last whole line is left unread.

    Args:
        file: at the place where the lines begin.
        head: of the lines before that place.

    Raises:
        LedgerError: the first line that isn't what was written, by its number.
    """
    while (text := file.readline(LONGEST_LINE)).endswith(b"\n"):
        line = _line(text, head.length + 1)
        if (line.number, line.previous) != (head.length + 1, head.hash):
            raise faulty(f"line {head.length + 1} doesn't follow the line before it")
        head = Head(line.number, line.hash)
        yield line
    if len(text) == LONGEST_LINE:
        raise faulty(f"line {head.length + 1} is longer than any line")
    file.seek(-len(text), 1)


def faulty(what: str) -> LedgerError:
    """The ledger is not what it was.

    Args:
        what: is wrong with it.
    """
    return LedgerError(
        f"the ledger was changed: {what}",
        "bring the site's state folder back from a copy, and find out who changed it; until then nothing leaves. "
        "Where no copy is left: `ra-client ledger begin --help`",
    )


def _line(text: bytes, number: int) -> Line:
    try:
        found = json.loads(text)
        found.pop("hash")
        line = Line(**found)
        whole = line.content == text and isinstance(line.what, dict)
        _ = line.spent, line.spending, line.replaced, line.model_hash, line.trained, line.scored, line.noted
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        whole = False
    if not whole:
        raise faulty(f"line {number} is not what was written")
    return line
