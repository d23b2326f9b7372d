"""Blocks of a Markdown page."""

import re

FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def fenced(page, language):
    return [content for name, content in FENCED.findall(page.read_text(encoding="utf-8")) if name == language]
