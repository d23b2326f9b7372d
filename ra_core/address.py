"""HOST:PORT, the one way in which settings name a server."""

from __future__ import annotations

import re

__all__ = ["split_address"]


def split_address(value: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is something else.

    >>> split_address("fed.example.org:443"), split_address("[::1]:9443")
    (('fed.example.org', 443), ('::1', 9443))
    """
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([^\s:/\[\]]+)):([0-9]{1,5})", value)
    if not found or not 0 < int(found[3]) < 65536:
        raise ValueError("must be HOST:PORT, for example fed.example.org:443")
    return found[1] or found[2], int(found[3])
