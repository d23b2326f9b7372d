"""`index.html`: the studies of an output folder, the highest score first, for people at the site."""

from __future__ import annotations

from pathlib import Path

from client.score.table import Row
from ra_core.model import Model
from ra_core.pages import page_bytes, page_environment

__all__ = ["render_page"]


def render_page(rows: list[Row], model: Model, root: Path) -> bytes:
    """The page. It needs no network and no script; pictures lie beside it.

    Args:
        rows: of the table.
        model: that scored them.
        root: the folder, to see which results there are.
    """
    scored = sorted((row for row in rows if row.score is not None), key=lambda row: (-(row.score or 0.0), row.number))
    page = (
        page_environment("client.score")
        .get_template("index.html.j2")
        .render(
            scored=scored,
            above=sum(row.decision == "above" for row in scored),
            not_scored=[row for row in rows if row.score is None],
            overlays={row.number for row in scored if (root / f"overlays/{row.name}.png").exists()},
            results={row.number: _result(row, root) for row in scored},
            model=model,
            told=_told(model, scored),
            usual={model.told(False), model.told(True)},
        )
    )
    return page_bytes(page)


def _told(model: Model, scored: list[Row]) -> list[tuple[str, str]]:
    """What decisions rest on, of those kinds of studies that are there."""
    kinds = (("Pictures by themselves", False), ("Volumes", True))
    there = {row.slices_declared > 1 for row in scored}
    return [(f"{which}{_limit(model, volume)}", model.told(volume)) for which, volume in kinds if volume in there]


def _limit(model: Model, volume: bool) -> str:
    value = model.calibration.threshold(volume).value if model.calibration else None
    return "" if value is None else f", above {value:.4g}"


def _result(row: Row, root: Path) -> str:
    """Relative path of what was made in the input's own format, or ""."""
    places = (f"dicom/{row.name}/", f"nifti/{row.name}.nii.gz")
    return next((place for place in places if (root / place).exists()), "")
