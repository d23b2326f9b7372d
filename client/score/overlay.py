"""Anomaly maps laid over the picture, on a colour scale that is the same for all studies of one model."""

from __future__ import annotations

import io
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from ra_core.data.geometry import resample

__all__ = ["ColourScale", "Panel", "blend", "draw_overlay"]

SIDE = 320
"""Longest side of a panel, in pixels."""

GAP, BAR, LABELS, TITLE, SMALL = 8, 16, 112, 26, 13
OPACITY = 0.75
INK, PAPER = "#1c2127", "#ffffff"

_COLOURS = (np.asarray(mpl.colormaps["inferno"](np.arange(256)))[:, :3] * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class ColourScale:
    """From map values to colours.

    Attributes:
        top: map value of the brightest colour; all above it look the same.
        threshold: map value above which a pixel is flagged; None without a calibration.
    """

    top: float
    threshold: float | None

    def share(self, heat: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where map values lie on the scale, in [0, 1]."""
        return np.asarray(np.clip(heat / self.top, 0, 1) if self.top > 0 else heat > 0, np.float32)

    def flagged(self, heat: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Pixels above the threshold; none without one."""
        return np.zeros(heat.shape, bool) if self.threshold is None else heat > self.threshold


@dataclass(frozen=True)
class Panel:
    """One picture and its map.

    Attributes:
        picture: float32 (H, W) in [0, 1].
        heat: map (H, W), at least 0.
        aspect: distance between rows, divided by that between columns.
        title: stands above; names no patient and no file.
    """

    picture: NDArray[np.float32]
    heat: NDArray[np.float32]
    aspect: float
    title: str


def blend(picture: NDArray[np.float32], heat: NDArray[np.float32], scale: ColourScale) -> NDArray[np.uint8]:
    """The picture under its map, uint8 (H, W, 3): the higher a map value, the brighter and the less transparent.

    A white line runs around what is flagged.
    """
    share, base = scale.share(heat), 255 * picture[..., None]
    opacity = OPACITY * np.sqrt(share)[..., None]
    colours = _COLOURS[np.rint(255 * share).astype(np.uint8)]
    mixed = np.rint((1 - opacity) * base + opacity * colours).astype(np.uint8)
    mixed[_outline(scale.flagged(heat))] = 255
    return mixed


def draw_overlay(panels: list[Panel], scale: ColourScale, words: str = "") -> bytes:
    """The bytes of a PNG: a line a panel with the picture, the picture under its map, and the colour scale; then words.

    It carries no text chunk and nothing of the input's header.

    Args:
        panels: at least one.
        scale: the same for all studies of a model.
        words: below, broken into lines; they name no patient and no file.
    """
    rows = [_draw_row(panel, scale) for panel in panels]
    rows += _draw_words(words, max(row.width for row in rows)) if words else []
    width, height = max(row.width for row in rows), sum(row.height for row in rows)
    sheet = PIL.Image.new("RGB", (width, height), PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", compress_level=1)  # a quarter of the usual level's time for a quarter more bytes
    return buffer.getvalue()


def _draw_row(panel: Panel, scale: ColourScale) -> PIL.Image.Image:
    size = _panel_size(panel.picture.shape, panel.aspect)
    picture, heat = resample(panel.picture, size[::-1]).clip(0, 1), resample(panel.heat, size[::-1])
    plain = np.rint(255 * picture).astype(np.uint8)
    row = PIL.Image.new("RGB", (2 * (size[0] + GAP) + GAP + BAR + LABELS, TITLE + size[1] + GAP), PAPER)
    PIL.ImageDraw.Draw(row).text((GAP, 2), panel.title, INK, _font())
    row.paste(PIL.Image.fromarray(plain), (GAP, TITLE))
    row.paste(PIL.Image.fromarray(blend(picture, heat, scale)), (2 * GAP + size[0], TITLE))
    _draw_scale(row, scale, 3 * GAP + 2 * size[0], size[1])
    return row


def _draw_words(words: str, width: int) -> list[PIL.Image.Image]:
    """Lines as wide as the sheet."""
    font, lines = PIL.ImageFont.load_default(SMALL), [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width - 2 * GAP:
            lines[-1] = longer
        else:
            lines.append(word)
    drawn = []
    for line in lines:
        row = PIL.Image.new("RGB", (width, SMALL + GAP), PAPER)
        PIL.ImageDraw.Draw(row).text((GAP, 1), line, INK, font)
        drawn.append(row)
    return drawn


def _panel_size(shape: tuple[int, ...], aspect: float) -> tuple[int, int]:
    """Width and height in pixels, true to the body's proportions."""
    height, width = shape[0] * aspect, float(shape[1])
    factor = SIDE / max(height, width)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _draw_scale(row: PIL.Image.Image, scale: ColourScale, left: int, height: int) -> None:
    """The colours from 0 at the bottom to the top, with labels."""
    bar = _COLOURS[np.linspace(255, 0, height).round().astype(int)][:, None].repeat(BAR, axis=1)
    row.paste(PIL.Image.fromarray(bar), (left, TITLE))
    ticks = {0.0: "0", scale.top: f"{scale.top:.3g}"}
    if scale.threshold is not None:
        ticks[scale.threshold] = f"{scale.threshold:.3g} limit"
    draw = PIL.ImageDraw.Draw(row)
    for value, text in ticks.items():
        share = float(scale.share(np.array(value, np.float32)))
        y = TITLE + round((1 - share) * (height - 1))
        draw.line((left + BAR, y, left + BAR + 4, y), INK)
        draw.text((left + BAR + 7, min(max(y, TITLE + 8), TITLE + height - 9)), text, INK, _font(), anchor="lm")


def _outline(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a region that touch what is not of it."""
    return np.asarray(inside & ~binary_erosion(inside))


def _font() -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    return PIL.ImageFont.load_default(17)
