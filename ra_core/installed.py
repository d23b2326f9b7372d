"""What is installed here: its digest, which both sides of a federation compare, and whether it is what is imported."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlparse

from ra_core.errors import VersionError

__all__ = ["package_hash", "refuse_foreign"]

PACKAGES = ("client", "ra_core", "server")
"""What runs in a federation."""

_COMPILED = "__pycache__"
"""Folders that Python writes into while it imports, unfinished files too: what is there differs by the moment."""


@cache
def package_hash() -> str:
    """SHA-256 over names and bytes of all files of `client`, `ra_core` and `server`, as they lie here: 64 hex digits.

    Raises:
        VersionError: a package has no folder.
    """
    digest = hashlib.sha256()
    for package in PACKAGES:
        folder = _folder(package)
        files = (file for file in folder.rglob("*") if _COMPILED not in file.parts and file.is_file())
        for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in files):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{package}/{name} {content}\n".encode())
    return digest.hexdigest()


def refuse_foreign() -> None:
    """Make sure that the packages that Python finds are those of the installed distribution: their names are plain.

    Raises:
        VersionError: another package of that name goes before ours, or federated-ra isn't installed.
    """
    try:
        home = _home(distribution("federated-ra"))
    except PackageNotFoundError:
        raise VersionError("federated-ra is not installed here", "pip install federated-ra") from None
    for package in PACKAGES:
        if _folder(package) != home / package:
            raise VersionError(
                f"'{package}' that Python imports is not federated-ra's",
                "unset PYTHONPATH, start from another folder, or uninstall the package that has the same name",
            )


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise VersionError(f"the package '{package}' can't be found", "install federated-ra again")
    return Path(spec.origin).resolve().parent


def _home(found: Distribution) -> Path:
    """The folder that holds the distribution's packages: an editable one tells the checkout it stands for."""
    told = json.loads(found.read_text("direct_url.json") or "{}")
    if told.get("dir_info", {}).get("editable"):
        return Path(unquote(urlparse(told["url"]).path)).resolve()
    return Path(str(found.locate_file(""))).resolve()
