"""The app that `flwr run` takes: settings and a licence, no code; servers and sites run what is installed there."""

from __future__ import annotations

from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from ra_core.errors import DataError
from ra_core.storage import write_atomically

__all__ = ["write_app"]


def write_app(folder: Path) -> None:
    """Write the app's `pyproject.toml` and `LICENSE` to a folder, for `flwr run FOLDER`.

    Raises:
        DataError: the installed package has no licence file.
        OSError: the folder can't be written.
    """
    licence = distribution("federated-ra").read_text("licenses/LICENSE")
    if licence is None:
        raise DataError("the installed package has lost its licence file", "install federated-ra again")
    write_atomically(folder / "LICENSE", licence.encode())
    write_atomically(folder / "pyproject.toml", files("server").joinpath("app.toml").read_bytes())
