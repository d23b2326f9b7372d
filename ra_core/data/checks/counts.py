"""What was read, what was not, and what the readers put right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ra_core.data.checks.finding import Code, Finding, Level, Mention
from ra_core.data.checks.pictures import Pictures
from ra_core.data.readers.refusal import Reason
from ra_core.data.readers.source import Facts, Note
from ra_core.data.scan.records import Scan
from ra_core.data.scan.stacks import gaps_of

__all__ = ["Counts", "check_reading"]

Name = TypeVar("Name", bound=str)

SUSPICIOUS = {Note.NO_PATIENT_ID, Note.SECONDARY_CAPTURE, Note.WINDOW_NOT_APPLIED, Note.ORIENTATION_GUESSED}
"""Notes that somebody has to look at; the others are told and need nothing."""


@dataclass(frozen=True)
class Counts:
    """A site in numbers; no number is of one patient's name or file.

    Attributes:
        declared: files that ought to be images of the site.
        read: of these, read and fit.
        skipped: files not read, by reason.
        pictures: that are used: slices and frames one by one.
        patients: behind them.
        by_part: pictures by split and label, such as "test anomalous".
        sizes, spacings, bits, kinds: of the files read, most frequent first.
        notes: what readers put right or could not know, in files.
        unnamed: files in the folder that the manifest doesn't name; None where rules go by the folder.
    """

    declared: int
    read: int
    skipped: dict[str, int]
    pictures: int
    patients: int
    by_part: dict[str, int]
    sizes: dict[str, int]
    spacings: dict[str, int]
    bits: dict[str, int]
    kinds: dict[str, int]
    notes: dict[str, int]
    unnamed: int | None

    @classmethod
    def of(cls, scan: Scan, pictures: Pictures, declared: int, unnamed: int | None = None) -> Counts:
        """Of a scan and the pictures used of it."""
        facts = [entry.facts for entry in scan.accepted if entry.facts]
        parts = Counter(f"{s} {label}" for s, label in zip(pictures.splits, pictures.labels, strict=True))
        return cls(
            declared=declared,
            read=len(scan.accepted),
            skipped=_sorted(scan.reasons),
            pictures=len(pictures),
            patients=len(set(pictures.patients)),
            by_part=dict(sorted(parts.items())),
            sizes=_sorted(Counter(f"{f.shape[0]} × {f.shape[1]}" for f in facts)),
            spacings=_sorted(Counter(_spacing(f.spacing) for f in facts)),
            bits=_sorted(Counter("unknown" if f.bits is None else str(f.bits) for f in facts)),
            kinds=_sorted(Counter(str(f.kind) for f in facts)),
            notes=_sorted(Counter(note for entry in scan.accepted for note in entry.notes)),
            unnamed=unnamed,
        )


def check_reading(scan: Scan, max_lost: float) -> Iterator[Finding]:
    """Unreadable and skipped files, and doubts of the readers."""
    if not scan.accepted:
        fix = "look at the reasons, and at data.root and the rules or the manifest of the site config"
        yield Finding(Level.ERROR, Code.NOTHING_READ, f"none of {len(scan.entries)} files can be used", fix)
    yield from _lost(scan, max_lost)
    yield from _left_aside(scan)
    yield from _notes(scan)
    yield from _stacks(scan)


def _lost(scan: Scan, max_lost: float) -> Iterator[Finding]:
    files = tuple(
        Mention(entry.path, remark=f"{entry.reason}: {entry.message}") for entry in scan.entries if entry.lost
    )
    if not files:
        return
    share = f"{scan.lost} of {scan.meant} images can't be used ({100 * scan.lost_share:.1f} %)"
    why = _counted(scan.lost_reasons)
    if scan.lost_share > max_lost:
        yield Finding(
            Level.ERROR,
            Code.TOO_MANY_LOST,
            f"{share}, more than the site's limit of {100 * max_lost:g} % (limits.max_lost): {why}",
            "mend or leave out these files: training on a rest of the data must not go unnoticed",
            files,
        )
    else:
        fix = "export these files again, or take them out of the folder and the manifest"
        yield Finding(Level.WARNING, Code.LOST, f"{share}: {why}", fix, files)


def _left_aside(scan: Scan) -> Iterator[Finding]:
    aside = [(entry.path, entry.reason) for entry in scan.entries if entry.reason and not entry.lost]
    slices: Counter[Reason] = Counter()
    for entry in scan.accepted:
        slices.update(dict(entry.skipped))
    if aside:
        yield Finding(
            Level.INFO,
            Code.LEFT_ASIDE,
            f"{len(aside)} files left aside as they should be: {_counted(Counter(reason for _, reason in aside))}",
            files=tuple(Mention(path, remark=str(reason)) for path, reason in aside),
        )
    if slices:
        message = f"{sum(slices.values())} slices or frames of files that are used left aside: {_counted(slices)}"
        yield Finding(Level.INFO, Code.LEFT_ASIDE, message)


def _notes(scan: Scan) -> Iterator[Finding]:
    for note in Note:
        paths = [entry.path for entry in scan.accepted if note in entry.notes]
        if not paths:
            continue
        level = Level.WARNING if note in SUSPICIOUS else Level.INFO
        code = Code.NO_PATIENT if note is Note.NO_PATIENT_ID else Code.PUT_RIGHT
        message = f"{len(paths)} of {len(scan.accepted)} files: {note}"
        yield Finding(level, code, message, _WHAT.get(note, ""), tuple(Mention(path) for path in paths))
    modalities = Counter(entry.facts.modality for entry in scan.accepted if entry.facts and entry.facts.modality)
    if len(modalities) > 1:
        rare = {name for name, _ in modalities.most_common()[1:]}
        files = tuple(
            Mention(e.path, remark=e.facts.modality) for e in scan.accepted if e.facts and e.facts.modality in rare
        )
        message = f"the headers of the files name {len(modalities)} modalities"
        yield Finding(Level.WARNING, Code.SEVERAL_MODALITIES, message, "keep those of one modality", files)


_WHAT = {
    Note.NO_PATIENT_ID: "the files don't tell the patient, so they are grouped by study; say in data.folder.patient "
    "how to tell, or one patient may get into two splits",
    Note.SECONDARY_CAPTURE: "look whether they show text, and whether they are originals",
    Note.WINDOW_NOT_APPLIED: "look at some of them: their own window is no use, so the full range is taken",
    Note.ORIENTATION_GUESSED: "look at some of them: the files don't tell which way is up",
}


def _stacks(scan: Scan) -> Iterator[Finding]:
    """Missing slices and tilt, of series and of files that hold a stack each."""
    series: list[_Stack] = [([(path, None) for path in one.paths], one.gaps, one.tilted) for one in scan.series]
    files = [_stack_of(e.path, e.facts) for e in scan.accepted if e.facts and e.facts.frames > 1]
    every = [*series, *files]
    gaps = [(pictures, places) for pictures, places, _ in every if places]
    if gaps:
        missing = sum(len(places) for _, places in gaps)
        yield Finding(
            Level.WARNING,
            Code.SERIES_GAPS,
            f"{len(gaps)} of {len(every)} series and volumes have gaps, {missing} in all: slices are missing",
            "export these again, if all their slices are meant",
            tuple(
                Mention(*pictures[place], remark=f"the next slice is missing (stack {number})")
                for number, (pictures, places) in enumerate(gaps, 1)
                for place in places
            ),
        )
    tilted = [pictures[0] for pictures, _, is_tilted in every if is_tilted]
    if tilted:
        yield Finding(
            Level.WARNING,
            Code.TILTED,
            f"{len(tilted)} of {len(every)} series and volumes are tilted: their slices move sideways (gantry tilt)",
            "use series without tilt, or have them resampled: their slices show other planes than those of the others",
            tuple(Mention(path, remark="the first slice") for path, _ in tilted),
        )


_Stack = tuple[list[tuple[str, int | None]], tuple[int, ...], bool]
"""Pictures by file and frame, places after which one is missing, and whether it is tilted."""


def _stack_of(path: str, facts: Facts) -> _Stack:
    return [(path, frame) for frame in range(facts.frames)], gaps_of(facts.positions or ()), facts.tilted


def _spacing(spacing: tuple[float, float] | None) -> str:
    return "unknown" if spacing is None else f"{spacing[0]:.3g} × {spacing[1]:.3g} mm"


def _counted(reasons: Counter[Reason]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in _sorted(reasons).items())


def _sorted(counts: Mapping[Name, int]) -> dict[str, int]:
    """Most frequent first, then by name."""
    return {str(name): count for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}
