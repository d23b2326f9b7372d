"""What `flower.json` in a run's folder holds: what was agreed, each submission to Flower, and the end."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ra_core.settings import Config

__all__ = ["STOPPED", "End", "RunRecord", "Submission", "Why"]

Why = Literal["asked", "again", "delivery"]
State = Literal["completed", "degraded", "failed", "stopped"]


class Submission(Config):
    """A start of the run at Flower.

    Attributes:
        number: Flower's, of the run.
        when: it was submitted, as `timestamp` gives it.
        why: the operator asked for it, Flower had failed, or sites lacked the model.
        rounds_done: how many rounds were before it.
    """

    number: int
    when: str
    why: Why
    rounds_done: int


class End(Config):
    """How a run ended.

    Attributes:
        state: completed only if all agreed sites were in all of it.
        reasons: who was missing, in which round and why; or why it failed.
        kind: class of the error, of `ra_core.errors`, that a failed run ended with.
        hint: to that error.
    """

    state: State
    reasons: tuple[str, ...] = ()
    kind: str = ""
    hint: str = ""


STOPPED = End(state="stopped", reasons=("stopped by the operator",), kind="StoppedError")
"""How a run ends on the operator's word."""


class RunRecord(Config):
    """What was agreed, and what has become of it.

    Attributes:
        study_digest: of the study's settings.
        sites: that have to be there.
        submissions: to Flower, in their order.
        end: of the last one; None while it goes on.
        withdrawn: sites whose answers count in it and that have withdrawn since, each with the time; it is not started
            again.
    """

    study_digest: str
    sites: tuple[str, ...]
    submissions: tuple[Submission, ...] = ()
    end: End | None = None
    withdrawn: dict[str, str] = Field(default_factory=dict)
