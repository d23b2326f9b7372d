"""The page as HTML, with its style and its script in it, and what a browser is told of these."""

from __future__ import annotations

import base64
import functools
import hashlib
from datetime import datetime
from importlib.resources import files

from jinja2 import Template
from markupsafe import Markup

from ra_core.pages import page_bytes, page_environment
from server.dashboard.state import Page
from server.dashboard.timing import seconds_since, span

__all__ = ["SCRIPT_SOURCE", "STYLE_SOURCE", "render"]

_TEMPLATES = files("server.dashboard") / "templates"
_STYLE = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
_SCRIPT = (_TEMPLATES / "update.js").read_text(encoding="utf-8")


def _source(text: str) -> str:
    """What a content security policy calls an inline text that may stand there."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


STYLE_SOURCE, SCRIPT_SOURCE = _source(_STYLE), _source(_SCRIPT)


def render(page: Page, refresh: int) -> bytes:
    """The page in UTF-8.

    Args:
        page: what it shows.
        refresh: seconds after which it asks for itself again.
    """
    text = _template().render(
        page=page,
        ago=lambda moment: span(seconds_since(moment, page.now)),
        style=Markup(_STYLE),  # noqa: S704 - our own
        script=Markup(_SCRIPT),  # noqa: S704 - our own
        refresh=refresh,
    )
    return page_bytes(text)


@functools.cache
def _template() -> Template:
    environment = page_environment("server.dashboard")
    environment.filters["clock"] = _clock
    return environment.get_template("page.html.j2")


def _clock(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else ""
