"""Patterns of paths: `*` and `?` stand for characters of one name, `**` for any folders."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["matches"]


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path, relative and with forward slashes, fits one of the patterns as a whole.

    `train/*.png` fits files right in train, `train/**` all files under it, `**/train/*` those right in any folder of
    that name. Capitals count. An umlaut is the same whether it is written as one character or two, since disks differ.
    """
    composed = unicodedata.normalize("NFC", path)
    return any(_compiled(pattern).fullmatch(composed) for pattern in patterns)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    *folders, last = re.sub(r"(\*\*/)+", "**/", unicodedata.normalize("NFC", pattern)).split("/")
    text = "".join("(?:[^/]+/)*" if name == "**" else _of_name(name) + "/" for name in folders)
    return re.compile(text + (".*" if last == "**" else _of_name(last)), re.DOTALL)


def _of_name(pattern: str) -> str:
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character)) for character in pattern)
