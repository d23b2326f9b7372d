"""Privacy that this site has spent. Its account is the ledger: chained, only ever longer, on the disk before a reply.

A round's releases are noted before the first of its steps is computed, so that whatever becomes of the round, a crash
and a repetition among it, has been paid for; nothing ever takes a note back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from client.ledger.book import Book
from client.ledger.line import Entry, Spending
from ra_core.config import PolicyConfig, PrivacyConfig, StudyConfig
from ra_core.errors import PrivacyBudgetError, ReleaseError
from ra_core.messages import Order, RoundOrder, RoundReply, StageOrder
from ra_core.privacy.accounting import METHOD, Releases, epsilon_of, noise_for
from ra_core.privacy.randomness import SYSTEM

__all__ = ["beyond_budget", "noise_of", "paid_for", "private_facts", "releases_of", "require_left", "spend"]


def noise_of(study: StudyConfig, dp: PrivacyConfig, policy: PolicyConfig) -> float:
    """The noise multiplier at this site: the study's, or the policy's where that is larger.

    Raises:
        ConfigError: no noise keeps the run within the epsilon that the study asks for.
    """
    federation = study.federation
    noise = dp.noise_multiplier
    if noise is None:
        total = study.method.releases(0, (federation.rounds + dp.spare_rounds) * federation.local_steps)
        noise = noise_for(dp.epsilon or 0.0, _delta(dp, policy), dp.sampling_rate, total)
    return max(noise, policy.dp_noise_multiplier or 0.0)


def releases_of(study: StudyConfig, dp: PrivacyConfig, policy: PolicyConfig, start: int, stop: int) -> Releases:
    """What the steps from `start` to before `stop` release.

    Raises:
        ConfigError: as `noise_of`.
    """
    return Releases(dp.sampling_rate, noise_of(study, dp, policy), study.method.releases(start, stop))


def beyond_budget(
    policy: PolicyConfig, study: StudyConfig, run: str, spendings: Sequence[Spending], more: Releases
) -> list[str]:
    """Which budgets further releases would overdraw; empty where none. No number of the site is in it.

    Args:
        policy: of the site, with its budget over all runs.
        study: with its budget for a run.
        run: its name.
        spendings: so far.
        more: what is to come.
    """
    dp, found = study.dp, []
    if dp is None:
        return []
    delta = _delta(dp, policy)
    if policy.dp_epsilon is not None and epsilon_of([*_all(spendings), more], delta) > policy.dp_epsilon:
        found.append(f"policy.dp_epsilon: too little is left for {more.times} releases at {_described(more)}")
    if dp.epsilon is not None and epsilon_of([*_all(_of_run(spendings, run, study)), more], delta) > dp.epsilon:
        found.append(f"dp.epsilon: too little is left in this run for {more.times} releases at {_described(more)}")
    return found


def require_left(book: Book, policy: PolicyConfig, order: RoundOrder | StageOrder) -> Releases:
    """What a round releases, which all budgets have room for.

    Args:
        book: the ledger, open.
        policy: of the site.
        order: of a study with differential privacy, with steps to train.

    Raises:
        PrivacyBudgetError: a budget would be overdrawn.
        ConfigError: as `noise_of`.
    """
    study = order.study
    releases = releases_of(study, _of(study), policy, order.start_step, order.start_step + order.steps)
    if why := beyond_budget(policy, study, order.run, book.spendings, releases):
        raise PrivacyBudgetError("; ".join(why), "the site takes part in no further round of this run")
    return releases


def spend(book: Book, policy: PolicyConfig, order: RoundOrder, source: str) -> Spending:
    """Note the releases of a round as spent, before any is made.

    Args:
        book: the ledger, open.
        policy: of the site.
        order: of a study with differential privacy, with steps to train.
        source: of the noise's bits.

    Raises:
        PrivacyBudgetError: a budget would be overdrawn; nothing was noted.
        ConfigError: as `noise_of`.
        OSError: the note isn't safe on the disk.
    """
    study, dp, releases = order.study, _of(order.study), require_left(book, policy, order)
    told = {
        "sampling_rate": releases.sampling_rate,
        "noise_multiplier": releases.noise_multiplier,
        "releases": releases.times,
        "clip_norm": dp.clip_norm,
        "delta": _delta(dp, policy),
        "source": source,
    }
    book.append(
        Entry(
            kind="spending",
            what={},
            policy=policy.digest(),
            run=order.run,
            study=study.digest(),
            round=order.round,
            privacy=told,
        )
    )
    return book.spendings[-1]


def paid_for(book: Book, policy: PolicyConfig, order: Order, reply: RoundReply) -> dict[str, Any]:
    """What the ledger tells of an update about to leave: its spending, and what all have come to.

    Args:
        book: the ledger, open.
        policy: of the site.
        order: of a study with differential privacy.
        reply: that holds the update, and says by which spending it was made.

    Returns:
        `line`: number of the spending's; what `private_facts` has; `epsilon_total` of all runs, None where `unbounded`
        updates have left without differential privacy; `accountant`.

    Raises:
        ReleaseError: nothing was spent for this update, an update has left since, or its noise was not the system's.
    """
    dp, paid = _of(order.study), book.unused
    made = (reply.spending, order.run, order.study.digest(), reply.round)
    if paid is None or (paid.number, paid.run, paid.study, paid.round) != made:
        raise ReleaseError("no privacy was spent for this update", "this is a fault of the program: report it")
    if paid.source != SYSTEM:
        raise ReleaseError(f"the noise is of a {paid.source}", "only the operating system's noise leaves")
    return private_facts(book, policy, order) | {
        "line": paid.number,
        "epsilon_total": None if book.unbounded else epsilon_of(_all(book.spendings), _delta(dp, policy)),
        "unbounded": book.unbounded,
        "accountant": METHOD,
    }


def private_facts(book: Book, policy: PolicyConfig, order: Order) -> dict[str, Any]:
    """The fields of a round's reply that tell what its run has spent, whatever became of it; none where nothing was.

    Args:
        book: the ledger, open.
        policy: of the site.
        order: of a study with differential privacy.
    """
    found, delta = _of_run(book.spendings, order.run, order.study), _delta(_of(order.study), policy)
    if not found:
        return {}
    noise = found[-1].releases.noise_multiplier
    return {"epsilon": epsilon_of(_all(found), delta), "delta": delta, "noise_multiplier": noise}


def _of(study: StudyConfig) -> PrivacyConfig:
    if study.dp is None:
        raise ValueError("the study has no differential privacy")
    return study.dp


def _delta(dp: PrivacyConfig, policy: PolicyConfig) -> float:
    return min(dp.delta, policy.dp_delta)


def _of_run(spendings: Iterable[Spending], run: str, study: StudyConfig) -> list[Spending]:
    return [spending for spending in spendings if (spending.run, spending.study) == (run, study.digest())]


def _all(spendings: Iterable[Spending]) -> list[Releases]:
    return [spending.releases for spending in spendings]


def _described(more: Releases) -> str:
    return f"a rate of {more.sampling_rate:g} with noise {more.noise_multiplier:g}"
