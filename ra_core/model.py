"""A trained model in three lines: `load` it, `score` a study, look at the result's map, score and decision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ra_core.ahead import ahead
from ra_core.artifact import Artifact, Card, load_artifact, require_features
from ra_core.calibration import Calibration, load_calibration
from ra_core.calibration.measured import mean_traits
from ra_core.calibration.traits import ORIENTATION, traits, uprightness
from ra_core.config import LimitsConfig, PerceptualConfig
from ra_core.data.geometry import Geometry
from ra_core.data.image import Image, prepare
from ra_core.data.readers import READER_VERSION
from ra_core.data.readers.reading import USUAL_LIMITS
from ra_core.data.readers.refusal import Reason
from ra_core.data.scan.plain import thumbnail
from ra_core.data.scan.rules import ScanRules
from ra_core.errors import DataError, WeightsError
from ra_core.finding import find
from ra_core.models.features import FeatureDetector, pretrained
from ra_core.perceptual import Perceptual
from ra_core.runtime import available
from ra_core.scoring import Scorer, ScoringConfig, image_scores
from ra_core.scorings import UNCALIBRATED, plain
from ra_core.site_scorer import SiteScorer
from ra_core.studies import Study, Terms, array_study, file_study, series_study

__all__ = ["UNCALIBRATED", "Model", "Result", "give_network", "identity_of", "load"]

UNCALIBRATED_SCALE = 0.3
"""Map value at the top of the colour scale where no threshold says more, as a share of the grey range."""

NO_CALIBRATION = "no decision: the model came without a calibration of this site"
"""In place of what a decision rests on."""

_NO_IMAGE = (Reason.SYSTEM_FILE, Reason.NOT_AN_IMAGE)

FileName = str | Path


@dataclass(frozen=True)
class Result:
    """What a model says of one study.

    Attributes:
        score: of the picture; of a volume, the highest of its slices'.
        decision: whether the score is above the site's threshold: of a picture by itself that of slices, of a volume
            that of studies; None where there is none.
        threshold: which that is; None likewise.
        decision_note: what the threshold rests on and promises, or why there is none; one sentence without a full stop.
        slice_scores: one a picture of the study; None where it was not scored.
        reasons: why, by the picture's number. A picture that has neither score nor reason is outside the range of
            slices that the model was trained on.
        volume: whether the study is a stack of slices.
        geometry: from the study's own grid to the model's and back.
        small: anomaly maps (S, S) as the model makes them, float32, at least 0, by the picture's number.
        traits: plain numbers of the pictures, mean of those that were scored (`ra_core.calibration.traits`); none
            without a calibration, which they would be held against.
    """

    score: float
    decision: bool | None
    threshold: float | None
    decision_note: str
    slice_scores: tuple[float | None, ...]
    reasons: Mapping[int, Reason]
    volume: bool
    geometry: Geometry = field(repr=False)
    small: Mapping[int, NDArray[np.float32]] = field(repr=False)
    traits: Mapping[str, float] = field(default_factory=dict, repr=False)

    @cached_property
    def map(self) -> NDArray[np.float32]:
        """The anomaly map on the study's own grid, at least 0: (H, W), or (D, H, W) of a volume.

        It is turned and ordered as the readers turn and order the pictures: upright, and from feet to head. Slices
        that were not scored are 0.
        """
        if not self.volume:
            return self.slice_map(0)
        found = np.zeros((len(self.slice_scores), *self.geometry.shape), np.float32)
        for index in self.small:
            found[index] = self.slice_map(index)
        return found

    def slice_map(self, index: int) -> NDArray[np.float32]:
        """The map (H, W) of one picture that was scored, on its own grid.

        Raises:
            KeyError: it was not scored.
        """
        return self.geometry.to_native(self.small[index])

    @property
    def ranked(self) -> list[int]:
        """Pictures that were scored, the highest score first."""
        return sorted(self.small, key=lambda index: (-(self.slice_scores[index] or 0.0), index))


class Model:
    """A trained model that scores studies. Make it with `load`.

    Attributes:
        card: what the model is and how it came about.
        scoring: how it scores.
        calibration: of the site; None where there is none.
        terms: what it asks of studies.
        flagged_above: map value above which a pixel is flagged; None without a calibration.
        scale: map value at the top of every colour scale: three times the site's pixel threshold.
        identity: SHA-256, in hex, over all that a score depends on but the study.
    """

    def __init__(
        self,
        artifact: Artifact,
        calibration: Calibration | None,
        perceptual: Perceptual | None,
        device: torch.device,
        limits: LimitsConfig,
        any_part: bool = False,
    ) -> None:
        self.card, self.calibration = artifact.card, calibration
        self.scoring = calibration.scoring if calibration else plain(artifact.method.scorings)
        asked = ("", "") if any_part else (self.card.anatomy, self.card.modality)
        self.terms = Terms(self.card.preprocessing, ScanRules(limits, *asked))
        self.flagged_above = calibration.flagged_above if calibration else None
        self.scale = UNCALIBRATED_SCALE if self.flagged_above is None else 3 * self.flagged_above
        self.identity = identity_of(artifact.card, calibration, self.scoring)
        healthy = {self.scoring.name: calibration.healthy} if calibration and calibration.healthy else {}
        method = artifact.method.to(device)
        self._scorer = SiteScorer(method, Scorer(perceptual), [self.scoring], healthy, device)

    def score(
        self,
        what: FileName | Sequence[FileName] | NDArray[np.generic] | Study,
        spacing: tuple[float, float] | None = None,
        batch_size: int = 8,
    ) -> Result:
        """Score one study.

        Args:
            what: a file (DICOM, NIfTI or raster); a folder with the slices of one DICOM series; the files of one, in
                order; or numbers (H, W) or (D, H, W), large = bright, in any unit. Slices of a file or series outside
                the range that the model was trained on are left out; those of an array are all scored.
            spacing: millimetres between rows and between columns of an array; square pixels where None.
            batch_size: pictures scored at a time; the scores don't depend on it, up to rounding.

        Raises:
            DataError: nothing of it can be scored; `code` says why.
        """
        study = self._open(what, spacing)
        scores: list[float | None] = [None] * study.count
        reasons: dict[int, Reason] = {}
        small: dict[int, NDArray[np.float32]] = {}
        geometry: Geometry | None = None
        plain: list[dict[str, float]] = []
        batches = _batches(self._images(study, reasons), batch_size)
        with closing(ahead(batches) if len(study.wanted) > batch_size else batches) as read:
            for batch in read:
                geometry = geometry or batch[0][1].geometry
                x = torch.from_numpy(np.stack([image.pixels for _, image in batch]))
                maps = self._scorer.maps(x)[self.scoring.name]
                found = zip(batch, image_scores(maps, self.scoring), maps[:, 0].numpy(), strict=True)
                for (number, _), score, own_map in found:
                    scores[number], small[number] = float(score), own_map
                plain += [self._traits(image) for _, image in batch]
        if geometry is None:
            raise _nothing(study, reasons)
        highest = max(score for score in scores if score is not None)
        threshold, note = self._threshold(study.volume, len(small))
        return Result(
            score=highest,
            decision=None if threshold is None else highest > threshold,
            threshold=threshold,
            decision_note=note,
            slice_scores=tuple(scores),
            reasons=reasons,
            volume=study.volume,
            geometry=geometry,
            small=small,
            traits=mean_traits(plain),
        )

    def told(self, volume: bool) -> str:
        """What decisions on volumes, or on pictures by themselves, rest on, or why there are none."""
        return self.calibration.told(volume) if self.calibration else NO_CALIBRATION

    def _threshold(self, volume: bool, pictures: int) -> tuple[float | None, str]:
        if self.calibration is None:
            return None, NO_CALIBRATION
        return self.calibration.threshold(volume).value, self.calibration.told(volume, pictures)

    def _traits(self, image: Image) -> dict[str, float]:
        if self.calibration is None:
            return {}
        pixels = image.pixels[0]
        turned = uprightness(thumbnail(pixels), self.calibration.mean_picture)
        return traits(pixels, image.geometry.shape, image.spacing) | {ORIENTATION: turned}

    def _open(
        self, what: FileName | Sequence[FileName] | NDArray[np.generic] | Study, spacing: tuple[float, float] | None
    ) -> Study:
        if isinstance(what, Study):
            return what
        if isinstance(what, np.ndarray):
            return array_study(what, spacing)
        if isinstance(what, str | Path):
            path = Path(what)
            return self._folder(path) if path.is_dir() else file_study(path, self.terms)
        return series_study([Path(name) for name in what], self.terms)

    def _folder(self, path: Path) -> Study:
        """The one study in a folder; what is no image, or none for this model, is passed by."""
        studies, refused = [], []
        for item in find([path], self.terms):
            try:
                studies.append(item.open(self.terms))
            except DataError as error:
                if not Reason(error.code).expected:
                    raise
                refused += [error] if error.code not in _NO_IMAGE else []
        if refused and not studies:
            raise refused[0]
        if len(studies) != 1:
            raise DataError(
                f"{path}: holds {len(studies)} studies, not one",
                "give a file or the folder of one series; `ra-client score` takes folders of many",
                Reason.UNSUPPORTED_CONTENT,
            )
        return studies[0]

    def _images(self, study: Study, reasons: dict[int, Reason]) -> Iterator[tuple[int, Image]]:
        """Pictures that are fit, with their numbers; all of one shape. Notes why the others are not."""
        first: Geometry | None = None
        for number in study.wanted:
            try:
                image = prepare(study.picture(number), self.card.preprocessing)
            except DataError as error:
                if not study.volume:
                    raise
                reasons[number] = Reason(error.code)
                continue
            first = first or image.geometry
            if image.geometry == first:
                yield number, image
            else:
                reasons[number] = Reason.UNSUPPORTED_CONTENT


def load(
    model: FileName,
    calibration: FileName | None = None,
    weights: FileName | None = None,
    device: str = "cpu",
    limits: LimitsConfig = USUAL_LIMITS,
    any_part: bool = False,
) -> Model:
    """A model ready to score.

    Args:
        model: folder with `card.json` and `model.safetensors`.
        calibration: folder with a site's `calibration.json`; where None, the model's own folder if it holds one.
            Without a calibration there is no decision, and the scoring is `UNCALIBRATED`.
        weights: file with the perceptual network's weights; where None, they are looked for on this machine. Only
            read where the calibration's scoring needs them.
        device: cpu, cuda or cuda:N.
        limits: what is refused.
        any_part: score what a header says to be of another body part or modality than the model was trained on.

    Raises:
        ArtifactError: model or calibration is missing or damaged, or they don't belong together; or the model was made
            with another pretrained network than the weights are of.
        WeightsError: the perceptual weights are nowhere, or are not those of the calibration.
        ConfigError: the device isn't there.
    """
    where = available(device)
    artifact = load_artifact(Path(model))
    folder = Path(calibration) if calibration is not None else _beside(Path(model))
    found = load_calibration(folder, artifact.card) if folder else None
    give_network(Path(model), artifact, weights, where)
    return Model(artifact, found, _perceptual(found, weights, where), where, limits, any_part)


def _batches(images: Iterator[tuple[int, Image]], size: int) -> Generator[list[tuple[int, Image]]]:
    while batch := list(islice(images, size)):
        yield batch


def _beside(model: Path) -> Path | None:
    return model if (model / "calibration.json").exists() else None


def give_network(model: Path, artifact: Artifact, weights: FileName | None, device: torch.device) -> None:
    """A method that looks at images through a pretrained network gets the one that it was made with.

    Raises:
        ArtifactError: the weights are of another network.
        WeightsError: there are none.
    """
    method = artifact.method
    if not isinstance(method, FeatureDetector):
        return
    config = PerceptualConfig.model_validate({"net": method.config.net, "weights": weights})
    network = pretrained(config, str(device))
    require_features(model, artifact.card, network.digest)
    method.look_through(network)


def _perceptual(calibration: Calibration | None, weights: FileName | None, device: torch.device) -> Perceptual | None:
    """The network that the scoring was calibrated with, where it needs one."""
    if calibration is None or not calibration.scoring.is_perceptual:
        return None
    config = PerceptualConfig.model_validate({"net": calibration.perceptual_net, "weights": weights})
    found = Perceptual.load(config, device)
    if found.digest != calibration.perceptual_hash:
        raise WeightsError(
            f"the perceptual network '{config.net}' is not the one that the model was calibrated with",
            "give the same weights, or calibrate the model again at this site",
        )
    return found


def identity_of(card: Card, calibration: Calibration | None, scoring: ScoringConfig) -> str:
    """`Model.identity`: equal where equal studies get equal scores and decisions."""
    healthy = calibration.healthy if calibration else None
    arrays = (healthy.mean, healthy.spread) if healthy else ()
    thresholds = (calibration.slice, calibration.study, calibration.pixel) if calibration else ()
    facts = {
        "model": card.model_hash,
        "features": card.features,
        "preprocessing": card.preprocessing.digest(),
        "scoring": scoring.digest(),
        "thresholds": [threshold.digest() for threshold in thresholds],
        "perceptual": calibration.perceptual_hash if calibration else "",
        "healthy": [hashlib.sha256(array.astype("<f8").tobytes()).hexdigest() for array in arrays],
        "usual": calibration.usual.digest() if calibration else "",
        "reader": READER_VERSION,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _nothing(study: Study, reasons: Mapping[int, Reason]) -> DataError:
    """The error of a volume without a single picture that is fit; its code is the commonest reason."""
    codes = sorted(reasons.values())
    code = max(codes, key=codes.count)
    where = f"{study.files[0]}: " if study.files else ""
    told = f"{where}none of {len(study.wanted)} slices can be scored ({code})"
    return DataError(told, "look at the file in a viewer", code)
