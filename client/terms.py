"""What a study asks of a site, held against what the site's policy allows: each objection names the policy's key.

An objection goes to the operator of the consortium, so it holds settings and names of layers, and no count of the site.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from client.ledger.line import Spending, Spent
from client.spending import beyond_budget, releases_of
from ra_core.config import KeyringConfig, PolicyConfig, SiteConfig, StudyConfig
from ra_core.installed import package_hash
from ra_core.messages import JoinOrder, JoinReply, Order, RoundOrder, RoundReply, StageOrder

__all__ = ["COUNTS", "masks", "objections", "rests_on_ledger", "shared_shapes", "to_counts"]

COUNTS = frozenset({"n_images", "n_patients", "n_val", "n_val_patients", "n_declared", "n_used"})
"""Fields of a reply that count something."""

DAY = timedelta(hours=24)

LEAST_RATE = 0.01
"""Of the largest learning rate of a round: a step with less is none."""

MOST_STEPS = 1_000_000
"""Steps whose learning rates are looked through; a study may name any number, and a site is not kept busy by that."""


def objections(
    policy: PolicyConfig,
    order: Order,
    spent: Sequence[Spent],
    spendings: Sequence[Spending] = (),
    begun: bool = False,
) -> list[str]:
    """Why the site doesn't answer this order; empty where it does.

    Args:
        policy: of the site.
        order: that came.
        spent: updates that have left so far.
        spendings: of privacy so far.
        begun: whether the site has said that nothing was spent before this ledger.
    """
    return [
        *_to_software(policy),
        *_to_study(policy, order.study),
        *_to_drawn(policy, order),
        *_to_rounds(policy, order, spent),
        *_to_privacy(policy, order, spendings, begun),
    ]


def rests_on_ledger(config: SiteConfig) -> list[str]:
    """Keys of a site config that hold only as far back as its ledger goes: it has to be begun in words for them."""
    has_budget = config.policy.dp_epsilon is not None
    kept = {"policy.dp_epsilon": has_budget, "secure_aggregation.sites": masks(config.secure_aggregation)}
    return [key for key, needed in kept.items() if needed]


def masks(keyring: KeyringConfig | None) -> bool:
    """Whether a site lists sites' keys, and so may have masked figures with them."""
    return keyring is not None and bool(keyring.sites)


def shared_shapes(study: StudyConfig) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor that the sites of a study share, by name."""
    from ra_core.models.registry import build_method  # noqa: PLC0415 - torch takes 3 s, and most terms need none of it
    from ra_core.models.shared import shared_tensors  # noqa: PLC0415 - as above

    method = build_method(study.method, study.preprocessing.size, study.seed)
    return {name: tuple(tensor.shape) for name, tensor in shared_tensors(method, study.federation).items()}


def to_counts(policy: PolicyConfig, reply: JoinReply | RoundReply) -> list[str]:
    """Why the site is too small for a reply to leave; empty where it isn't. No count is told."""
    found = ["policy.min_patients: the site has fewer"] if reply.n_patients < policy.min_patients else []
    small = [name for name in sorted(COUNTS & vars(reply).keys()) if getattr(reply, name) < policy.min_count]
    return found + [f"policy.min_count: {name} is smaller" for name in small]


def _to_software(policy: PolicyConfig) -> Iterator[str]:
    if policy.packages is not None and package_hash() not in policy.packages:
        yield f"policy.packages doesn't name the installed software, {package_hash()}"


def _to_study(policy: PolicyConfig, study: StudyConfig) -> Iterator[str]:
    if study.dp is None and policy.dp_epsilon is not None:
        yield f"policy.{'dp_required' if policy.dp_required else 'dp_epsilon'}: the study has no differential privacy"
    yield from _to_sums(policy, study)
    if refused := sorted(set(study.parts) - set(study.parts if policy.parts is None else policy.parts)):
        yield f"policy.parts doesn't let out {', '.join(refused)}, which the study shares"
    elif policy.tensors is not None:
        yield from _to_tensors(policy.tensors, study)
    if study.method.fitted and (policy.clip_update_norm is not None or policy.update_type != "exact"):
        key = "clip_update_norm" if policy.clip_update_norm is not None else "update_type"
        yield f"policy.{key}: the updates of {study.method.name} are means over images, which can't be shortened"


def _to_sums(policy: PolicyConfig, study: StudyConfig) -> Iterator[str]:
    """Where few sites gave a metric, its sum would tell of those few: so each gives all, or takes no part."""
    agreed = study.federation.secure_aggregation
    least = policy.secure_aggregation_least
    if agreed is None:
        if policy.secure_aggregation_required or least:
            key = "required" if policy.secure_aggregation_required else "least"
            yield f"policy.secure_aggregation_{key}: the study has no secure aggregation"
        return
    if least and agreed.threshold < least:  # each site reveals for no fewer survivors than the threshold
        yield f"policy.secure_aggregation_least: {agreed.threshold} sites are enough for the study, {least} are wanted"
    if refused := [name for name in agreed.metrics if not policy.lets_out(name)]:
        yield f"policy.metrics doesn't let out {', '.join(refused)}, which every site gives under masks"
    if study.dp and agreed.metrics and "metrics" not in policy.dp_tells:
        yield f"policy.dp_tells doesn't let out {', '.join(agreed.metrics)}, which every site gives under masks"


def _to_tensors(allowed: tuple[str, ...], study: StudyConfig) -> Iterator[str]:
    refused = [name for name in shared_shapes(study) if not name.startswith(allowed)]
    if refused:
        yield f"policy.tensors doesn't let out {refused[0]} ({len(refused)} such tensors), which the study shares"


def _to_drawn(policy: PolicyConfig, order: Order) -> Iterator[str]:
    """By what the order itself asks for: a server may ask for fewer steps than its study has, and from any of them on.

    A step whose learning rate is next to nothing beside another's adds nothing to the update: it draws no image.
    """
    study, size = order.study, order.study.training.batch_size
    if policy.min_images_drawn == 1 or study.method.fitted:
        return
    for start, steps in _rounds_asked(order):
        if steps > MOST_STEPS:
            yield f"policy.min_images_drawn: more than {MOST_STEPS} steps a round are not looked through"
            return
        counted = _counted_steps(study, start, steps)
        if counted * size < policy.min_images_drawn:
            left_out = f", {steps - counted} of them at next to no learning rate," if counted < steps else ""
            yield f"policy.min_images_drawn: a round of {steps} steps on {size} images{left_out} draws fewer"
            return


def _rounds_asked(order: Order) -> Iterator[tuple[int, int]]:
    """Start and steps of the rounds that an order asks for.

    On joining those that begin within the first `MOST_STEPS` steps: a later one is looked at when it is asked for.
    """
    if isinstance(order, RoundOrder | StageOrder) and order.steps:
        yield order.start_step, order.steps
    if isinstance(order, JoinOrder):
        steps = order.study.federation.local_steps
        for start in range(0, min(order.study.federation.rounds * steps, MOST_STEPS), steps):
            yield start, steps


def _counted_steps(study: StudyConfig, start: int, steps: int) -> int:
    rates = [study.method.rate(step) for step in range(start, start + steps)]
    largest = max(rates)
    return sum(rate >= LEAST_RATE * largest for rate in rates)


def _to_rounds(policy: PolicyConfig, order: Order, spent: Sequence[Spent]) -> Iterator[str]:
    needed = _updates_asked(order, spent)
    if not needed:
        return
    if policy.rounds_total is not None and len(spent) + needed > policy.rounds_total:
        left = max(policy.rounds_total - len(spent), 0)
        yield f"policy.rounds_total leaves {left} updates, and {needed} are asked for"
    since = datetime.now(UTC) - DAY
    if policy.rounds_per_day is not None and sum(s.time > since for s in spent) >= policy.rounds_per_day:
        yield f"policy.rounds_per_day: all {policy.rounds_per_day} updates of the last 24 hours are spent"


def _to_privacy(policy: PolicyConfig, order: Order, spendings: Sequence[Spending], begun: bool) -> Iterator[str]:
    """On joining a run for the first time, whether all its rounds can be paid for.

    Who comes back, after a crash that may have cost a round, is let in: a round that can't be paid for is refused when
    it is asked for, and closing exchange and delivery cost nothing.
    """
    study = order.study
    if study.dp is None:
        return
    if policy.dp_epsilon is not None and not begun:
        yield "policy.dp_epsilon: nobody has said that nothing was spent before this ledger: `ra-client ledger begin`"
    is_in = any((s.run, s.study) == (order.run, study.digest()) for s in spendings)
    if is_in or not isinstance(order, JoinOrder):
        return
    more = releases_of(study, study.dp, policy, 0, study.federation.rounds * study.federation.local_steps)
    yield from beyond_budget(policy, study, order.run, spendings, more)


def _updates_asked(order: Order, spent: Sequence[Spent]) -> int:
    """Updates that an order asks for: on joining, all that its run has still to come."""
    if isinstance(order, JoinOrder):
        done = {s.round for s in spent if (s.run, s.study) == (order.run, order.study.digest())}
        return max(order.study.federation.rounds - len(done), 0)
    if isinstance(order, RoundOrder) or (isinstance(order, StageOrder) and order.stage == "announce"):
        return int(order.steps > 0)
    return 0
