"""Names of the files in a run's folder: the server's app writes them, the operator's commands read them."""

__all__ = [
    "CHECKPOINT",
    "EVENTS",
    "FAILURE",
    "FLOWER",
    "LOCK",
    "MASKED",
    "MODEL",
    "PREVIOUS",
    "REFUSED",
    "RESULT",
    "STUDY",
]

STUDY = "study.yaml"
"""Settings of the study."""

FLOWER = "flower.json"
"""What was agreed, and when it was submitted to Flower; the commands' own."""

EVENTS = "events.jsonl"
"""What has happened, as JSON lines."""

CHECKPOINT = "checkpoint.safetensors"
"""The state after the last exchange."""

PREVIOUS = "checkpoint.previous.safetensors"
"""The one before it."""

REFUSED = "checkpoint.refused.safetensors"
"""A last one that could not be used."""

MASKED = "masked.json"
"""For which round masked figures were last asked for."""

MODEL = "model"
"""The chosen model, a folder; not there where layers stay at the sites."""

LOCK = ".app.lock"
"""Held by the one start of the server's app that works in the folder."""

FAILURE = "failure.json"
"""Why the run ended early, if it did."""

RESULT = "run.json"
"""Who was in which round, and what came of it."""
