"""The app that `flwr run` takes: settings and a licence, no code; servers and sites run what is installed there."""

from __future__ import annotations

import functools
import hashlib
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from ra_core.errors import DataError
from ra_core.files import write_atomically

__all__ = ["bundle_hash", "write_app"]


def write_app(folder: Path) -> None:
    """Write the app's `pyproject.toml` and `LICENSE` to a folder, for `flwr run FOLDER`.

    Raises:
        DataError: the installed package has no licence file.
        OSError: the folder can't be written.
    """
    for name, content in _app().items():
        write_atomically(folder / name, content)


@functools.cache
def bundle_hash() -> str:
    """SHA-256 of the bundle that `flwr run` makes of the app here: what a site allows, and compares before it runs it.

    Raises:
        DataError: the installed package has no licence file.
    """
    from flwr.cli.build import build_fab_from_files  # noqa: PLC0415 - it takes a second, and writing the app needs none

    bundle, _ = build_fab_from_files(_app())
    return hashlib.sha256(bundle).hexdigest()


def _app() -> dict[str, bytes]:
    """The app's files by name."""
    licence = distribution("federated-ra").read_text("licenses/LICENSE")
    if licence is None:
        raise DataError("the installed package has lost its licence file", "install federated-ra again")
    return {"LICENSE": licence.encode(), "pyproject.toml": files("server").joinpath("app.toml").read_bytes()}
