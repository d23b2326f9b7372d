"""What has left a site, for its data-protection officer: sections that `client.ledger.page` shows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from client.ledger.book import Book
from client.ledger.kinds import KINDS
from client.ledger.line import Line, Spending
from client.ledger.listing import described
from ra_core.config import PolicyConfig, SiteConfig
from ra_core.daemons.events import moment
from ra_core.privacy.accounting import epsilon_of
from ra_core.words import counted

if TYPE_CHECKING:
    from client.models import Stored  # it brings torch along, which verifying a ledger doesn't need

__all__ = ["Report", "Section", "make_report", "state_of"]

LIMITS = (
    "The ledger proves what this software sent, not that no other way leads out of the hospital. Lines that the server "
    "has acknowledged can't be changed, moved or cut unnoticed; younger ones can be cut from the end. Who can write to "
    "the state folder can change ledger and acknowledgement together: then only the head in the operator's run.json "
    "tells, given to `ra-client ledger verify --length N --head HASH`. A failure that the ledger or an unreadable "
    "site config causes leaves no line. An update of weights is no image, yet it is not nothing: who has it and the "
    "model may learn something of the images behind it."
)


PRIVACY = (
    "Differential privacy of a patient in all updates of a run, those of rounds among them that were paid for and "
    "never left. Runs without a row had none: no epsilon bounds what their updates tell, and none is of all runs then. "
    "Nor does one bound what counts, means and failures tell."
)

SCORES = (
    "How many patients score how high with a finished model, on published edges: no score, and no patient. A cell of "
    "few tells about what those few have, and so does where the highest ends: policy.min_cell and "
    "policy.min_count set how few."
)

TELLING = (
    "This site's own attacks, by `ra-client leak`: can somebody who has a model and a patient's images tell whether it "
    "was trained on the patient? Nothing of this has left. Attacks that fail don't prove that none can succeed."
)


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: of it.
        text: in words.
        header: names of the table's columns; empty where there is no table.
        rows: of the table.
    """

    title: str
    text: str
    header: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Report:
    """What has left a site.

    Attributes:
        site: its name.
        made: when, UTC.
        verdict: whether the ledger is whole, in a sentence.
        sections: of it.
    """

    site: str
    made: str
    verdict: str
    sections: Sequence[Section]


@dataclass
class _Run:
    """What has left in one run."""

    first: str
    last: str = ""
    kinds: Counter[str] = field(default_factory=Counter)
    size: int = 0
    norm: float = 0.0
    images: int = 0
    patients: int = 0

    def add(self, line: Line) -> None:
        self.last = line.time
        self.kinds[line.kind] += 1
        self.size += line.what["bytes"]
        self.norm = max(self.norm, line.what["norm"])
        self.images = max(self.images, line.what["facts"].get("n_images", 0))
        self.patients = max(self.patients, line.what["facts"].get("n_patients", 0))


def make_report(book: Book, config: SiteConfig, models: Sequence[Stored]) -> Report:
    """Of a ledger whose chain has been checked.

    Args:
        book: the ledger, open.
        config: of the site.
        models: that are stored at the site.

    Raises:
        LedgerError: the ledger changed meanwhile.
        OSError: it can't be read.
    """
    kinds: Counter[str] = Counter()
    runs: dict[tuple[str, str], _Run] = {}
    kept_back: list[tuple[str, ...]] = []
    parts: Counter[str] = Counter()
    metrics: Counter[str] = Counter()
    scores: list[tuple[str, ...]] = []
    policies: Counter[str] = Counter()
    privacy: dict[tuple[str, str], list[Spending]] = {}
    for line in book.lines():
        kinds[line.kind] += 1
        policies[line.policy] += 1
        if spending := line.spending:
            privacy.setdefault((line.run, line.study[:16]), []).append(spending)
        if line.kind in ("torn", "spending", "begin"):
            continue
        runs.setdefault((line.run, line.study[:16]), _Run(line.time)).add(line)
        kept_back += [(str(line.number), line.time, line.run, line.kind, why) for why in _kept_back(line)]
        parts.update({tensor["name"].partition(".")[0] for tensor in line.what["tensors"]})
        metrics.update(line.what["metrics"].keys())
        scores += [(str(line.number), line.time, line.run, text) for text in described(line.what["facts"])]
    sections = [
        Section("Messages", f"{counted(book.head.length, 'line')}.", ("number", "what"), _counted(kinds)),
        Section("Runs", "", _RUN, [_run(*key, run) for key, run in runs.items()]),
        Section("Parts of models", "Whose weights' changes have left.", ("messages", "part"), _named(parts)),
        Section("Means", "Over all of the site's images each time.", ("messages", "mean"), _named(metrics)),
        Section("Scores", SCORES, ("line", "time", "run", "what"), scores),
        Section("Privacy", PRIVACY, _PRIVACY, _privacy(privacy, book.unbounded)),
        Section("Kept back", "By the policy, or by the ledger.", ("line", "time", "run", "message", "why"), kept_back),
        Section("What models tell", TELLING, _MODEL, [_attacked(model) for model in models if model.card]),
        _policy(config.policy, policies),
        Section("What this page can't say", LIMITS),
    ]
    return Report(config.data.site, moment(), state_of(book), sections)


def state_of(book: Book) -> str:
    """How a checked ledger stands, in a sentence."""
    acknowledged = book.ledger.acknowledged.length
    left = f" A crash left {book.torn_bytes} bytes of a further line; its message never left."
    return (
        f"The chain of {counted(book.head.length, 'line')} is whole, and the server has acknowledged {acknowledged} of "
        f"them; head {book.head.hash}.{left if book.torn_bytes else ''}"
    )


def _kept_back(line: Line) -> list[str]:
    reason = [line.what["facts"]["reason"]] if line.kind == "refusal" else []
    return [*reason, *line.what["withheld"]]


def _counted(kinds: Mapping[str, int]) -> list[tuple[str, ...]]:
    return [(str(kinds[kind]), words) for kind, words in KINDS.items() if kinds[kind]]


def _named(counts: Mapping[str, int]) -> list[tuple[str, ...]]:
    return [(str(count), name) for name, count in sorted(counts.items())]


_PRIVACY = ("run", "study", "rounds paid for", "noise multipliers", "delta", "epsilon")


def _privacy(found: Mapping[tuple[str, str], Sequence[Spending]], unbounded: int) -> list[tuple[str, ...]]:
    """A row a run, and one of all, at the smallest delta of any."""
    rows = [(*key, *_spent(spendings)) for key, spendings in found.items()]
    together = [spending for spendings in found.values() for spending in spendings]
    if unbounded:
        none = f"none: {unbounded} updates without differential privacy"
        return [*rows, ("all runs", "", str(len(together)), "", "", none)]
    return [*rows, ("all runs", "", *_spent(together))] if len(rows) > 1 else rows


def _spent(spendings: Sequence[Spending]) -> tuple[str, ...]:
    delta = min(spending.delta for spending in spendings)
    noise = sorted({spending.releases.noise_multiplier for spending in spendings})
    epsilon = epsilon_of((spending.releases for spending in spendings), delta)
    return str(len(spendings)), ", ".join(f"{value:g}" for value in noise), f"{delta:g}", f"{epsilon:.4g}"


_RUN = ("run", "study", "from", "to", "updates", "other messages", "bytes", "largest norm", "images", "patients")


def _run(name: str, study: str, run: _Run) -> tuple[str, ...]:
    updates = run.kinds["round"] + run.kinds["masked"]
    counts = (updates, run.kinds.total() - updates, run.size)
    return (
        *(name or "unknown", study or "unknown", run.first, run.last),
        *(str(count) for count in counts),
        *(f"{run.norm:.4g}", str(run.images), str(run.patients)),
    )


_MODEL = ("model", "patients trained on", "held back", "found")


def _attacked(model: Stored) -> tuple[str, ...]:
    if model.leak is None:
        return model.folder.name, "", "", "not attacked"
    found = model.leak
    return model.folder.name, str(found.trained_patients), str(found.held_back_patients), found.verdict


def _policy(policy: PolicyConfig, used: Mapping[str, int]) -> Section:
    now = policy.digest()
    others = sum(count for digest, count in used.items() if digest != now)
    text = f"As the site config has it now, digest {now}; {counted(others, 'line')} of another."
    rows = [
        (name, _value(getattr(policy, name)), field.description or "")
        for name, field in type(policy).model_fields.items()
    ]
    return Section("Policy", text, ("key", "value", "meaning"), rows)


def _value(value: object) -> str:
    """As YAML has it."""
    return ", ".join(value) if isinstance(value, tuple) else json.dumps(value).strip('"')
