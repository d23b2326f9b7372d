"""What kinds of lines a ledger has, in words; apart, so that a command's help has them without what a ledger needs."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["KINDS"]

KINDS: Mapping[str, str] = {
    "join": "answers to an invitation: names, hashes and counts of images and patients",
    "refusal": "refusals to take part: which rule of the policy the study breaks",
    "round": "updates of a model's weights, with counts, and means over all of the site's images",
    "closing": "judgements of a last model: counts, and means over all of the site's images",
    "masked": "updates under masks, with counts and means: who receives them can read their sum over the sites alone",
    "masked_closing": "judgements of a last model under masks, likewise",
    "announce": "public keys for a round of secure aggregation",
    "deal": "secrets of such a round in shares, each sealed for one other site",
    "confirm": "signatures under the list of sites whose figures are in a sum",
    "reveal": "shares that take the masks off a sum, and off nothing else",
    "histogram": "histograms of healthy patients' scores with a finished model: counts alone",
    "check": "counts of healthy patients whose score is above thresholds; maybe histograms of test patients' scores",
    "delivery": "receipts for a finished model: its hash",
    "error": "notices of a failure: its kind and the site's name, no more",
    "spending": "notes of privacy spent, before a round was computed that may have left or not",
    "begin": "statements that the account begins with this ledger, or that it is in place of a lost one",
    "torn": "notes about a line that a crash left unfinished; its message never left",
}
