"""Score one study after another, and write what came out before the next is scored.

The next is read in a thread meanwhile: memory is that of one volume, or of two pictures by themselves.
"""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from client.score.decided import decided
from client.score.dicom_output import captures
from client.score.folder import ScoreFolder
from client.score.history import History
from client.score.nifti_output import nifti_map
from client.score.opening import Read, content_of, opened
from client.score.overlay import ColourScale, Panel, draw_overlay
from client.score.table import Row, Table
from ra_core.ahead import ahead
from ra_core.calibration.traits import SCORE
from ra_core.data.preprocess import scaled
from ra_core.errors import DataError
from ra_core.finding import Item
from ra_core.model import Model, Result
from ra_core.studies import Study

__all__ = ["Outcome", "score_all"]

_NOT_WRITTEN = "result_not_written"
"""Reason of a study that was scored, but whose overlay, DICOM series or NIfTI map could not be made."""

_SHOWN = 3
"""Slices of a volume in its overlay: those with the highest scores."""


@dataclass
class Outcome:
    """What a call has done, in counts.

    Attributes:
        scored, known: studies scored now, and before.
        above: of both, those above the threshold.
        lost: studies that ought to have been scored in full and were not.
        reasons: why studies were not scored, or not written in full, with counts; expected ones included.
    """

    scored: int
    known: int
    above: int
    lost: int
    reasons: Counter[str]


def score_all(
    model: Model,
    items: Sequence[Item],
    table: Table,
    folder: ScoreFolder,
    progress: Callable[[int], None],
    stopped: Callable[[], bool],
    history: History | None = None,
) -> Outcome:
    """Score every item that the table doesn't know yet; what could not be scored, or counted, before is tried again.

    What is left aside now loses a score that it has from before.

    Args:
        model: that scores.
        items: what is scored.
        table: gets a row an item, when all else of it is written.
        folder: where the rest is written.
        progress: told after each item how many are done.
        stopped: asked before each item whether to leave off.
        history: gets the numbers of each study that is scored, before the table does; None keeps nothing.

    Raises:
        ResumeError: the history is damaged.
        OSError: the disk is full or the folder can't be written.
    """
    outcome = Outcome(0, 0, 0, 0, Counter())

    def read(item: Item) -> Read:
        content = content_of(item.files)
        known = _known(_row(table, item, content), item, content, history)
        return Read(item, content, None if known else opened(item, model.terms))

    # Libraries' warnings may quote a header. Each reading ignores them, but undoes that for both threads when it ends.
    with warnings.catch_warnings(action="ignore"), closing(ahead(map(read, items))) as found:
        for done, next_ in enumerate(found, start=1):
            if stopped():
                break
            row = _row(table, next_.item, next_.content)
            if row and _known(row, next_.item, next_.content, history):
                outcome.known += 1
            else:
                row = _score(model, next_, row.number if row else table.next_number, folder, history)
                table.append(row)
                outcome.scored += row.score is not None
            outcome.above += row.decision == "above"
            outcome.lost += row.lost or bool(next_.item.named and row.reason)
            outcome.reasons.update([row.reason] if row.reason else [])
            progress(done)
    return outcome


def _row(table: Table, item: Item, content: str) -> Row | None:
    """What the table has of it from before."""
    return table.find(str(item.files[0]), content)


def _known(row: Row | None, item: Item, content: str, history: History | None) -> bool:
    """Whether it was scored in full and counted before; `row` is what the table has of it."""
    return bool(row and row.complete and item.reason is None and (history is None or history.has(content)))


def _score(model: Model, read: Read, number: int, folder: ScoreFolder, history: History | None) -> Row:
    item, content, study = read
    row = Row(number, str(item.files[0]), content=content, model=model.identity)
    try:
        study = opened(item, model.terms) if study is None else study
        if isinstance(study, DataError):
            raise study
        row = replace(row, kind=study.kind, slices_declared=study.count)
        result = model.score(study)
    except DataError as error:
        return replace(row, reason=error.code)
    if history:
        history.add(content, "study" if result.volume else "slice", {SCORE: result.score, **result.traits})
    row = replace(
        row,
        slices_scored=len(result.small),
        score=result.score,
        decision={None: "", True: "above", False: "below"}[result.decision],
        threshold=result.threshold,
        decision_note=result.decision_note,
        highest_slice=result.ranked[0] + 1,
        slices_refused=" ".join(f"{code}:{count}" for code, count in sorted(Counter(result.reasons.values()).items())),
    )
    return replace(row, reason=_write(model, study, result, row, folder))


def _write(model: Model, study: Study, result: Result, row: Row, folder: ScoreFolder) -> str:
    """Overlay and result in the input's own format; the reason where they could not all be made, or ""."""
    try:
        for name, content in _results(model, study, result, row):
            folder.write(name, content)
    except _NotMade:
        shutil.rmtree(folder.root / f"dicom/{row.name}", ignore_errors=True)  # no half series
        return _NOT_WRITTEN
    return ""


def _panels(model: Model, study: Study, result: Result, number: int) -> Iterator[Panel]:
    for index in result.ranked[:_SHOWN]:
        raw = study.picture(index)
        aspect = raw.spacing[0] / raw.spacing[1] if raw.spacing else 1.0
        where = f", slice {index + 1} of {study.count}" if study.volume else ""
        title = f"{number}{where}: {result.slice_scores[index]:.4g}"
        yield Panel(scaled(raw.pixels, model.card.preprocessing), result.slice_map(index), aspect, title)


class _NotMade(Exception):  # noqa: N818 - says what it is
    """A result could not be made from the input."""


def _results(model: Model, study: Study, result: Result, row: Row) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a study's files: an overlay, and what lies beside the input where its viewers look."""
    scale = ColourScale(model.scale, model.flagged_above)
    try:
        yield (
            f"overlays/{row.name}.png",
            draw_overlay(list(_panels(model, study, result, row.number)), scale, decided(result)),
        )
        if study.kind == "dicom":
            for place, content in captures(study, result, model, scale, row.content):
                yield f"dicom/{row.name}/{place:04d}.dcm", content
        elif study.kind == "nifti":
            yield f"nifti/{row.name}.nii.gz", nifti_map(study.files[0], result, model.terms.reading, scale.top)
    # The file may have gone since it was scored, and the libraries raise whatever they like on odd headers. Their
    # messages may quote a patient's data.
    except Exception as error:
        raise _NotMade from error
