"""HTML pages from templates: what the report of an experiment and the pages of a hospital have in common."""

from __future__ import annotations

import base64

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

__all__ = ["page_bytes", "page_environment"]


def page_environment(*packages: str) -> Environment:
    """The templates of packages, first come first served: values are escaped, a name that isn't given is an error.

    The filter `base64` puts a picture's bytes into a page.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    return environment


def page_bytes(page: str) -> bytes:
    """The page as UTF-8; of a file's name that is no UTF-8, the bytes are shown as escapes."""
    return page.encode("utf-8", "backslashreplace")
