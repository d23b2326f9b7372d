"""Pictures unlike the rest: turned, inverted, or of other greys, sharpness or shape than is usual."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ra_core.data.checks.finding import Code, Finding, Level
from ra_core.data.checks.pictures import STATISTICS, Pictures, unit
from ra_core.data.checks.profile import Profile, Usual, usual_of
from ra_core.data.scan.records import THUMBNAIL

__all__ = ["check_consortium", "check_poses", "check_usual", "turned_pictures"]

FloatArray = NDArray[np.float32]

FEWEST = 20
"""Pictures that what is usual can be told from."""

FAR = 6.0
"""Robust deviations from the median beyond which a picture is unlike the rest; a normal distribution has none there."""

SHIFTED = 3.0
"""Robust deviations of the consortium beyond which a site's median is unlike it."""

SEPARATE = 1.75
"""Robust deviations from upright pictures to the middle between them and turned ones that tell both apart."""

STRAYED = 4.0
"""Robust deviations from the upright pictures that none of them strays."""

COHERENT = 0.6
"""Median correlation with the mean picture from which on a site shows one thing in one pose."""

NEGATIVE = -0.15
"""Correlation with the mean picture below which a picture may be inverted."""

TURNS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "a quarter turn": lambda x: np.rot90(x, 1),
    "a half turn": lambda x: np.rot90(x, 2),
    "a quarter turn the other way": lambda x: np.rot90(x, 3),
    "a flip upside down": lambda x: x[::-1],
    "a flip left to right": lambda x: x[:, ::-1],
    "a transposition": lambda x: x.T,
    "a transposition and a half turn": lambda x: np.rot90(x, 2).T,
}
"""The seven ways in which a square picture can be laid wrongly."""


def check_poses(pictures: Pictures) -> Iterator[Finding]:
    """Turned, flipped and inverted pictures, told by the site's own mean picture.

    Only where the site's pictures are alike, and only turns that change the mean picture enough: a chest laid sideways
    is found, a round head upside down may not be.
    """
    if len(pictures) < FEWEST:
        return
    x = unit(pictures.thumbnails)
    mean = unit(x.mean(axis=0, keepdims=True))[0]
    own = x @ mean
    if np.median(own) < COHERENT:
        return
    turned = turned_pictures(mean)
    likeness = x @ turned.T
    inverted = (own < NEGATIVE) & (-own >= likeness.max(axis=1))
    laid_wrongly = _laid_wrongly(x, mean, turned) & ~inverted
    if inverted.any():
        yield Finding(
            Level.WARNING,
            Code.INVERTED,
            f"{inverted.sum()} of {len(pictures)} images look inverted: dark where the others are bright",
            "export them again with black as the lowest value, or take them out",
            tuple(pictures.mention(int(i)) for i in np.flatnonzero(inverted)),
        )
    if laid_wrongly.any():
        names = list(TURNS)
        yield Finding(
            Level.WARNING,
            Code.TURNED,
            f"{laid_wrongly.sum()} of {len(pictures)} images look turned or flipped against the others",
            "export them again upright, or take them out",
            tuple(
                pictures.mention(int(i), f"lies like the others after {names[int(likeness[i].argmax())]}")
                for i in np.flatnonzero(laid_wrongly)
            ),
        )


def check_usual(pictures: Pictures) -> Iterator[Finding]:
    """Healthy pictures whose plain numbers are far from those of the site's others."""
    healthy = pictures.healthy
    if len(healthy) >= FEWEST:
        yield from _far(pictures, usual_of(pictures, healthy), Code.UNLIKE_SITE, "the site's others")


def check_consortium(pictures: Pictures, profile: Profile) -> Iterator[Finding]:
    """The site, and its healthy pictures, against a consortium's profile."""
    yield from _far(pictures, profile.statistics, Code.UNLIKE_CONSORTIUM, "the consortium's")
    healthy = pictures.healthy
    if len(healthy) < FEWEST:
        return
    told = []
    for name, own in usual_of(pictures, healthy).items():
        shift = float(profile.statistics[name].distance(np.array([own.median]))[0])
        if abs(shift) > SHIFTED:
            told.append(f"{name} is {abs(shift):.1f} deviations {'higher' if shift > 0 else 'lower'}")
    if told:
        yield Finding(
            Level.WARNING,
            Code.SITE_UNLIKE_CONSORTIUM,
            f"the site's healthy images differ from the consortium's: {', '.join(told)}",
            "check modality, view, window and export against the other sites",
        )
    yield from _site_pose(pictures.thumbnails[healthy], pictures.weights(healthy), profile)


def _far(pictures: Pictures, usual: Mapping[str, Usual], code: Code, others: str) -> Iterator[Finding]:
    """Of the healthy ones only: what is usual is of healthy ones, so abnormal ones are expected to be far from it."""
    healthy = pictures.healthy
    numbers = pictures.numbers(healthy)
    distances = np.stack([usual[name].distance(values) for name, values in numbers.items()], axis=1)
    size = np.abs(distances)
    far = np.flatnonzero((size > FAR).any(axis=1))
    far = far[np.argsort(-size[far].max(axis=1), kind="stable")]
    if len(far):
        yield Finding(
            Level.WARNING,
            code,
            f"{len(far)} of {len(healthy)} healthy images are unlike {others} in brightness, contrast, sharpness or "
            "shape",
            "look whether they are of another modality, view, window or body part, and take those out",
            tuple(pictures.mention(int(healthy[i]), _farthest(distances[i])) for i in far),
        )


def _farthest(distances: NDArray[np.float64]) -> str:
    place = int(np.abs(distances).argmax())
    way = "above" if distances[place] > 0 else "below"
    return f"{STATISTICS[place]} {abs(distances[place]):.1f} deviations {way} the usual"


def turned_pictures(mean: FloatArray) -> FloatArray:
    """The mean picture (P,) laid wrongly in seven ways, (7, P)."""
    square = mean.reshape(THUMBNAIL, THUMBNAIL)
    return np.stack([turn(square).ravel() for turn in TURNS.values()])


def _laid_wrongly(x: FloatArray, mean: FloatArray, turned: FloatArray) -> NDArray[np.bool_]:
    """Which of N pictures (N, P) lie nearer to a turned mean picture than to the upright one, (N,).

    Along the direction from the turned to the upright mean picture, upright pictures are around +m and pictures laid so
    around −m. A picture below 0 is laid so, if that is farther than upright ones stray, and if a turn changes enough.
    """
    place = x @ (mean - turned).T
    middle = np.median(place, axis=0)
    upright = np.where(place < -np.abs(middle) / 2, np.nan, place)
    stray = 1.4826 * np.nanmedian(np.abs(upright - middle), axis=0)
    told_apart = middle > SEPARATE * np.maximum(stray, 1e-6)
    return np.asarray(((place < np.minimum(0, middle - STRAYED * stray)) & told_apart).any(axis=1))


def _site_pose(thumbnails: NDArray[np.uint8], weights: NDArray[np.float64], profile: Profile) -> Iterator[Finding]:
    """Whether the site as a whole lies otherwise than the consortium."""
    mean = unit((weights @ unit(thumbnails))[None])[0]
    theirs = unit(np.array(profile.mean_picture).reshape(1, -1))[0]
    likeness = turned_pictures(theirs) @ mean
    upright = float(theirs @ mean)
    best = int(likeness.argmax())
    if -upright > max(float(likeness[best]), -NEGATIVE):
        what = "inverted"
    elif likeness[best] > upright + 0.2:
        what = f"laid otherwise, by {list(TURNS)[best]}"
    else:
        return
    yield Finding(
        Level.ERROR,
        Code.SITE_TURNED,
        f"the site's images as a whole look {what} against the consortium's",
        "export them as the other sites do: one site laid otherwise spoils the model of all",
    )
