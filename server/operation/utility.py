"""What a model without a site is worth beside the one with it, as far as the server knows: errors on healthy images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from server.operation.runs import Run

__all__ = ["utility"]

MEANING = (
    "this is how well healthy validation images are reconstructed, lower is better; it says nothing of what is found: "
    "the sites can score the same studies with both models. The new run has another seed, which moves these too"
)


def utility(old: Run, new: Run) -> Iterator[str]:
    """The errors of two runs' chosen models in lines; none before the new run has come to its end.

    Args:
        old: run from which a site has withdrawn.
        new: run of the other sites.

    Raises:
        RAError: a record is missing or damaged.
    """
    end = new.record().end if new.exists() else None
    if end is None or end.state not in ("completed", "degraded"):
        return
    before, after = old.result(), new.result()
    pairs = _by_site(before, after)
    yield f"validation error of the model of '{old.name}' -> that of '{new.name}':"
    for site, (first, second) in pairs.items():
        yield f"  {site}: {_change(first, second)}"
    if pairs:
        yield f"  mean of these: {_change(*_mean(pairs, after))}"
    elif before.get("best_error") and after.get("best_error"):
        yield f"  mean of all sites of each: {_change(before['best_error'], after['best_error'])}"
    else:
        yield "  not known: no site's policy lets it out"
        return
    yield MEANING


def _by_site(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Errors of the two models at the sites that have told both, sorted by name."""
    first, second = _errors(before), _errors(after)
    return {site: (first[site], second[site]) for site in sorted(first.keys() & second.keys())}


def _errors(result: Mapping[str, Any]) -> dict[str, float]:
    """By site, from the exchange that judged the chosen model."""
    judged = [found for found in result.get("rounds", ()) if found["round"] == (result.get("best_round") or 0) + 1]
    return {
        site: metrics["validation_error"]
        for found in judged
        for site, metrics in found["metrics"].items()
        if "validation_error" in metrics
    }


def _mean(pairs: Mapping[str, tuple[float, float]], result: Mapping[str, Any]) -> tuple[float, float]:
    """Weighted by validation images, both by those of the new run; equally where a site tells no count."""
    counts = {site: result.get("images", {}).get(site, {}).get("val", 0) for site in pairs}
    weights = counts if all(counts.values()) else dict.fromkeys(pairs, 1)
    total = sum(weights.values())
    first, second = (sum(weights[site] * pair[place] for site, pair in pairs.items()) / total for place in (0, 1))
    return first, second


def _change(first: float, second: float) -> str:
    relative = f" ({100 * (second / first - 1):+.1f} %)" if first else ""
    return f"{first:.5f} -> {second:.5f}{relative}"
