"""The attack on several virtual patients, in numbers and as a picture."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ra_core.console import TerminalReporter
from ra_core.files import write_atomically
from ra_core.metrics import Estimate, mean_estimate, ssim
from ra_core.rng import derive_seed
from simulation.cohort import CohortConfig, virtual_patient
from simulation.inversion.attack import draw_images, layer_input, undo_adam
from simulation.inversion.updates import SCENARIOS, Scenario, first_model, sent

__all__ = ["Attempt", "attempt", "run_inversion"]

OTHERS = 200
"""Patients of the same hospital who make the mean image, and among whom the drawn one is looked for."""

SHOWN = 3
"""Patients in the picture."""


@dataclass(frozen=True)
class Attempt:
    """What was drawn of some patients in a scenario.

    Attributes:
        scenario: which; None is the mean image, drawn without any update.
        drawn: (N, 1, S, S).
        psnr: of each drawn image, in dB, (N,).
        ssim: of each, (N,).
        recognised: whether the patient's own image is the one most like it, (N,).
    """

    scenario: Scenario | None
    drawn: Tensor
    psnr: np.ndarray
    ssim: np.ndarray
    recognised: np.ndarray

    @property
    def name(self) -> str:
        """In table and picture."""
        return self.scenario.name if self.scenario else "mean image, no update"


def run_inversion(out: Path, patients: int, size: int, iterations: int, seed: int) -> Iterator[str]:
    """Attack virtual patients and write `inversion.png` and `inversion.json`; the values are lines of a table.

    Raises:
        ConfigError: nilearn is not installed.
        OSError: the folder can't be written.
    """
    reporter, config = TerminalReporter(), CohortConfig(size=max(size, 64), seed=seed)
    with reporter.task("making virtual patients", patients + OTHERS) as move:
        images = _images(config, size, patients + OTHERS, lambda done: move(done, ""))
    found = [_judged(None, images[patients:].mean(0, keepdim=True).repeat(patients, 1, 1, 1), images, 1)]
    with reporter.task("attacking", len(SCENARIOS)) as move:
        for done, scenario in enumerate(SCENARIOS, start=1):
            found.append(attempt(scenario, images, patients, iterations, seed))
            move(done, scenario.name)
    rows = [_row(one, seed) for one in found]
    write_atomically(out / "inversion.json", (json.dumps(rows, indent=2) + "\n").encode())
    write_atomically(out / "inversion.png", _picture(found, images))
    yield f"{'':38}{'epsilon':>10}{'PSNR':>24}{'SSIM':>24}  recognised of {patients}"
    for row in rows:
        epsilon = "" if row["epsilon"] is None else f"{row['epsilon']:.2g}"
        yield f"{row['name']:38}{epsilon:>10}{_told(row['psnr']):>24}{_told(row['ssim']):>24}  {row['recognised']}"


def attempt(scenario: Scenario, images: Tensor, patients: int, iterations: int, seed: int) -> Attempt:
    """Attack each of the first patients, one update each; of a batch, the others in it are the last of all.

    Args:
        scenario: what sites do.
        images: of all patients, (M, 1, S, S) in [0, 1]; those after the first `patients` make the mean image.
        patients: how many are attacked, N.
        iterations: of drawing.
        seed: of the model and of the noise of latents.
    """
    model = first_model(scenario, images.shape[-1], seed)
    others = images[len(images) - scenario.images + 1 :]
    wanted = []
    for number in range(patients):
        batch = torch.cat([images[number : number + 1], others])
        update = sent(scenario, model, batch, derive_seed(seed, "patient", number))
        layer = (
            undo_adam(update[f"encoder.head.{name}"], scenario.rate, scenario.steps) for name in ("weight", "bias")
        )
        wanted.append(layer_input(*layer))
    mean = images[patients:].mean(0, keepdim=True)
    drawn = draw_images(model.encoder, torch.stack(wanted), mean, iterations)
    return _judged(scenario, drawn, images, scenario.images)


def _judged(scenario: Scenario | None, drawn: Tensor, images: Tensor, batch: int) -> Attempt:
    """Held against each patient's image; of a batch, against the one of it that is most like what was drawn."""
    psnr, likeness, recognised = [], [], []
    for number, one in enumerate(drawn):
        inside = [number, *range(len(images) - batch + 1, len(images))]
        errors = (images[inside] - one).square().flatten(1).mean(1)
        nearest = inside[int(errors.argmin())]
        psnr.append(float(-10 * errors.min().log10()))
        likeness.append(float(ssim(images[nearest], one)[0]))
        recognised.append(int(_correlations(images, one).argmax()) in inside)
    return Attempt(scenario, drawn, np.array(psnr), np.array(likeness), np.array(recognised))


def _correlations(images: Tensor, one: Tensor) -> Tensor:
    rows = torch.cat([images, one[None]]).flatten(1)
    return torch.corrcoef(rows)[-1, :-1]


def _images(config: CohortConfig, size: int, count: int, on_patient: Callable[[int], None]) -> Tensor:
    """Of the first hospital's healthy patients, (count, 1, S, S)."""
    found = []
    for number in range(count):
        found.append(torch.from_numpy(virtual_patient(config, config.hospitals[0], "train", number).image))
        on_patient(number + 1)
    whole = torch.stack(found)[:, None].float()
    return torch.nn.functional.interpolate(whole, size=(size, size), mode="area")


def _row(found: Attempt, seed: int) -> dict[str, object]:
    """An attempt in numbers, means with 95 % intervals over patients."""
    ids = [str(number) for number in range(len(found.psnr))]
    psnr, likeness = (
        mean_estimate(values, ids, bootstrap=2000, confidence=0.95, seed=seed) for values in (found.psnr, found.ssim)
    )
    return {
        "name": found.name,
        "epsilon": found.scenario.epsilon if found.scenario else None,
        "patients": len(ids),
        "psnr": _interval(psnr),
        "ssim": _interval(likeness),
        "recognised": int(found.recognised.sum()),
    }


def _interval(found: Estimate) -> tuple[float | None, float | None, float | None]:
    return found.value, found.ci_low, found.ci_high


def _told(interval: object) -> str:
    value, low, high = interval if isinstance(interval, tuple) else (None, None, None)
    return f"{value:.2f}" + ("" if low is None else f" ({low:.2f} to {high:.2f})")


def _picture(found: Sequence[Attempt], images: Tensor) -> bytes:
    """The first patients, a row each: the image, and what was drawn of it; as the bytes of a PNG file."""
    shown = min(SHOWN, len(found[0].drawn))
    with mpl.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(1.5 * (len(found) + 1), 1.55 * shown + 0.5), dpi=90, layout="compressed")
        axes = figure.subplots(shown, len(found) + 1, squeeze=False)
        for number, row in enumerate(axes):
            for axis, picture in zip(row, [images[number], *(one.drawn[number] for one in found)], strict=True):
                axis.set_axis_off()
                axis.imshow(picture[0].numpy(), cmap="gray", vmin=0, vmax=1)
        for axis, name in zip(axes[0], ["trained on", *(one.name for one in found)], strict=True):
            axis.set_title(name.replace(", ", "\n"), fontsize=7)
        drawn, buffer = io.BytesIO(), io.BytesIO()
        figure.savefig(drawn, format="png")
    Image.open(drawn).convert("L").save(buffer, format="png", optimize=True)  # grey: a third of the bytes
    return buffer.getvalue()
