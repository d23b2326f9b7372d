"""What a folder of images may be, guessed from its headers and from the names of its folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ra_core.data.manifest import Manifest
from ra_core.data.readers import Facts, open_source
from ra_core.data.scan import walk
from ra_core.data.scan.anatomy import anatomy_of
from ra_core.data.scan.masks import mask_end
from ra_core.errors import DataError, ManifestError

__all__ = ["Guess", "guess"]

SAMPLE = 200
"""Headers that are read, spread evenly over the folder."""

# words of folder names, in the singular
_HEALTHY = frozenset({"healthy", "normal", "control", "negative", "good", "notumor", "notumour", "nofinding"})
_ANOMALOUS = frozenset(
    {
        *("anomalous", "abnormal", "anomaly", "sick", "disease", "diseased", "pathology", "pathological", "positive"),
        *("lesion", "tumor", "tumour", "cancer", "glioma", "meningioma", "pneumonia", "covid", "covid19", "fracture"),
        *("fractured", "hemorrhage", "haemorrhage", "bleeding", "stroke", "bad", "finding"),
    }
)
_NOT = frozenset({"no", "non", "not", "without"})
_SPLITS = {
    "train": frozenset({"train", "training"}),
    "val": frozenset({"val", "valid", "validation", "dev"}),
    "calibration": frozenset({"calibration", "calib"}),
    "test": frozenset({"test", "testing"}),
}
_MASKS = frozenset({"mask", "segmentation", "seg"})
_FEWEST_PATIENTS = 5


@dataclass(frozen=True)
class Guess:
    """What a folder may be.

    Attributes:
        files: how many there are, by the reason why they are not opened; "" are the others.
        found: kinds, and reasons of those that can't be read, in the sample.
        anatomy, modality: of the images.
        data: settings of a `DataConfig`. They may name folders.
        doubts: what to check, each on a line. They name nothing of the folder.
    """

    files: Counter[str]
    found: Counter[str]
    anatomy: str
    modality: str
    data: dict[str, Any]
    doubts: list[str]


def guess(folder: Path) -> Guess:
    """Look at a folder: at the names of all files, and at the headers of some.

    Raises:
        DataError: it is no folder that can be listed.
    """
    every = list(walk(folder))
    files = Counter(str(file.reason or "") for file in every)
    paths = [file.path for file in every if file.reason is None]
    if "manifest.csv" in paths:
        return _by_manifest(folder, files)
    images, unread = _headers(folder, paths[:: max(1, -(-len(paths) // SAMPLE))])
    found = Counter(facts.kind for facts in images.values())
    doubts: list[str] = []
    modality = _most_common(f.modality for f in images.values() if re.fullmatch("[A-Z]{2}", f.modality))
    if not modality:
        doubts.append("no header names a modality: set modality")
    anatomy = _most_common(name for f in images.values() for name in sorted(anatomy_of(f.body_part)))
    if not anatomy:
        anatomy = _most_common(name for path in images for name in sorted(anatomy_of(path.rpartition("/")[0])))
        doubts.append(f"no header names a body part: {'check' if anatomy else 'set'} anatomy")
    rules = _labels(paths, doubts) | _splits(paths, doubts) | {"patient": _patient(images, doubts)}
    data = {"site": "my_site", "folder": rules}
    return Guess(files, found + unread, anatomy or "unknown", modality or "OT", data, doubts)


def _by_manifest(folder: Path, files: Counter[str]) -> Guess:
    data = {"site": "my_site", "manifest": "manifest.csv"}
    try:
        rows = Manifest.load(folder / "manifest.csv", folder).rows
    except ManifestError:
        doubts = ["the manifest breaks a rule, which `ra-client check` names", "set data.site, anatomy and modality"]
        return Guess(files, Counter(), "unknown", "OT", data, doubts)
    first = rows[0]
    sites = len({row.site for row in rows})
    doubts = [f"the manifest names {sites} sites, and data.site is the first: set yours"] if sites > 1 else []
    return Guess(files, Counter(), first.anatomy, first.modality, data | {"site": first.site}, doubts)


def _headers(folder: Path, paths: Iterable[str]) -> tuple[dict[str, Facts], Counter[str]]:
    images: dict[str, Facts] = {}
    unread: Counter[str] = Counter()
    for path in paths:
        try:
            images[path] = open_source(folder / path).facts
        except DataError as error:
            unread[error.code] += 1
    return images, unread


def _labels(paths: Sequence[str], doubts: list[str]) -> dict[str, list[str]]:
    names = _folder_names(paths)
    healthy = [name for name in names if _is_healthy(name)]
    anomalous = [name for name in names if _words(name) & _ANOMALOUS and not _is_healthy(name)]
    rules = {"anomalous": _under(anomalous), "healthy": _under(healthy) or ["**"]}
    masks = [name for name in names if _words(name) & _MASKS]
    ends = sorted({end for path in paths if (end := mask_end(path))})
    if masks or ends:
        rules["ignored"] = _under(masks) + [f"**/*{end}.*" for end in ends]
        doubts.append("some files look like masks and are ignored: a manifest is needed to measure on them")
    if not healthy:
        doubts.append("no folder says what is healthy: every image that is not ruled out counts as healthy")
    if not anomalous:
        doubts.append("no folder says what is abnormal: nothing can be measured without some")
    return rules


def _splits(paths: Sequence[str], doubts: list[str]) -> dict[str, Any]:
    names = _folder_names(paths)
    found = {split: _under(name for name in names if _words(name) & words) for split, words in _SPLITS.items()}
    rules: dict[str, Any] = {split: patterns for split, patterns in found.items() if patterns}
    if "val" not in rules and "train" in rules:
        del rules["train"]  # a part of it has to become val
        doubts.append("folders name no val split: patients who are in no other split are drawn")
    if "test" in rules and "train" not in rules:
        rules["shares"] = {"train": 0.8, "val": 0.1, "calibration": 0.1, "test": 0.0}
    return rules


def _patient(images: Mapping[str, Facts], doubts: list[str]) -> str:
    headers = [facts for facts in images.values() if facts.kind == "dicom"]
    if headers and 2 * len(headers) >= len(images):
        if not all(facts.patient for facts in headers):
            doubts.append("some headers name no patient: their studies count as patients")
        if len(headers) < len(images):
            doubts.append("files that are no DICOM name no patient: data.folder.patient needs a rule on the path")
        return "dicom"
    level = _patient_level(list(images))
    if level:
        doubts.append(f"each folder at level {level} counts as a patient: check data.folder.patient")
        return f"folder:{level}"
    doubts.append("each file counts as a patient: set data.folder.patient if patients have several images")
    return "file"


def _patient_level(paths: Sequence[str]) -> int:
    """The deepest level of folders that may be patients: many, of several files, and without a word that we know."""
    folders = [path.split("/")[:-1] for path in paths]
    known = _HEALTHY | _ANOMALOUS | _MASKS | frozenset().union(*_SPLITS.values())
    for level in range(min(map(len, folders), default=0), 0, -1):
        names = {parts[level - 1] for parts in folders}
        if _FEWEST_PATIENTS <= len(names) < len(paths) and not any(_words(name) & known for name in names):
            return level
    return 0


def _folder_names(paths: Iterable[str]) -> list[str]:
    """Names that a pattern can hold."""
    names = {name for path in paths for name in path.split("/")[:-1]}
    return sorted(name for name in names if not set(name) & set("*?"))


def _is_healthy(name: str) -> bool:
    words = _words(name)
    return bool(words & _HEALTHY) or bool(words & _NOT and words & _ANOMALOUS)


def _words(name: str) -> frozenset[str]:
    words = re.split(r"[^a-z0-9]+", name.lower())
    return frozenset(words) | {word.removesuffix("s") for word in words}


def _under(names: Iterable[str]) -> list[str]:
    return [f"**/{name}/**" for name in names]


def _most_common(texts: Iterable[str]) -> str:
    counts = Counter(texts)
    return min(counts, key=lambda text: (-counts[text], text), default="")
